"""Completing an image from some of its pixels: a regression task whose inputs are places and whose targets are ink."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_count
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.characters import glyph_images, omniglot_images
from metabook.tasks.distort import Distort
from metabook.tasks.draw import draw_distinct
from metabook.tasks.images import Distortion
from metabook.tasks.protocol import score_predictions


class ImageCompletion:
    """y = ink of an image at place x: each task is one image, its support set some of its pixels.

    Garnelo et al. (2018), arXiv:1807.01613, sec. 4.2. Places are (row, column) from -1 to 1 in both directions, ink
    goes from 0 (paper) to 1. There is no noise on the targets, and most are exactly 0 or close to 1: give a learner of
    log-likelihood a floor of its standard deviation, or it grows without bound.

    images: uint8 [n, 1, H, W]; a task draws one of them, all alike. shots: pixels of the support set, or a pair
    (low, high) that draws one number for each batch. queries: other pixels, never one of the support set.
    distort: of images [n, 1, H, W] and a generator, applied to each drawn image (``Distort``).

    Raises TypeError or ValueError for images of another kind, counts below 1, and more pixels than an image has.
    """

    x_shape = (2,)

    def __init__(
        self,
        images: Tensor,
        *,
        shots: int | tuple[int, int] = (8, 157),
        queries: int = 200,
        distort: Distortion | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 1 or not len(images):
            raise ValueError(
                f"images: {images.dtype} of shape {list(images.shape)} given; uint8 [n, 1, H, W] is needed"
            )
        self.likelihood = Regression()
        self.low, self.high = shots if isinstance(shots, (tuple, list)) else (shots, shots)
        if check_count("shots", self.low) > check_count("shots", self.high):
            raise ValueError(f"shots: {shots!r} given; low <= high is needed")
        self.queries, self.distort, self.images = check_count("queries", queries), distort, images
        self.size = (images.shape[2], images.shape[3])
        if self.high + queries > images[0].numel():
            raise ValueError(f"shots + queries: {self.high} + {queries} given; an image has {images[0].numel()} pixels")

    def places(self, device: torch.device | str = "cpu") -> Tensor:
        """The places of all pixels, row by row, [H W, 2]."""
        rows, columns = (torch.linspace(-1, 1, n, device=device) for n in self.size)
        return torch.cartesian_prod(rows, columns)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n images as floats, [n, 1, H, W], distorted if these tasks are."""
        device = generator.device
        chosen = torch.randint(len(self.images), (check_count("n", n),), generator=generator, device=device)
        images = self.images[chosen.cpu()].to(device) * (1 / 255)
        return images if self.distort is None else self.distort(images, generator)

    def episode(self, images: Tensor, generator: torch.Generator) -> Episode:
        """Support and query pixels of the given images [n, 1, H, W], floats from 0 to 1."""
        device, n, s = generator.device, len(images), self.low
        if self.low < self.high:
            s = int(torch.randint(self.low, self.high + 1, (), device=device, generator=generator))
        ink, places = images.flatten(1), self.places(device)
        count = torch.full((n,), ink.shape[1], device=device)
        index = draw_distinct(s + self.queries, count, ink.shape[1], generator)  # [n, S + Q]
        x, y = places[index], ink.gather(1, index).unsqueeze(-1)
        return Episode(Examples(x[:, :s], y[:, :s]), Examples(x[:, s:], y[:, s:]))

    def pixels(self, images: Tensor) -> Examples:
        """Every pixel of the images [n, 1, H, W], row by row: x [n, H W, 2], y [n, H W, 1]."""
        return Examples(self.places(images.device).expand(len(images), -1, -1), images.flatten(1).unsqueeze(-1))

    def image(self, y: Tensor) -> Tensor:
        """Values at all places, row by row, as images: [..., H W, 1] -> [..., 1, H, W]."""
        return y.transpose(-1, -2).unflatten(-1, self.size)

    def shown(self, examples: Examples) -> Tensor:
        """The images with the ink of these pixels, and NaN at all others: [n, 1, H, W]."""
        last = torch.tensor(self.size, device=examples.x.device) - 1
        row, column = ((examples.x + 1) / 2 * last).round().long().unbind(-1)  # [n, S]
        y = torch.full((len(row), self.size[0] * self.size[1], 1), torch.nan).to(examples.y)
        return self.image(y.scatter(1, (row * self.size[1] + column).unsqueeze(-1), examples.y))

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n tasks on the generator's device: x [n, shots, 2] and [n, queries, 2], y [n, ..., 1]."""
        return self.episode(self.draw(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)


def glyph_completion_tasks(
    part: str, *, shots: int | tuple[int, int] = (8, 157), queries: int = 200, distort: bool = True
) -> ImageCompletion:
    """Printed letters to complete; the three parts have scripts of their own. distort: as in ``glyphs``."""
    distortion = Distort() if distort else None
    return ImageCompletion(glyph_images(part).images, shots=shots, queries=queries, distort=distortion)


def omniglot_completion_tasks(
    part: str,
    *,
    shots: int | tuple[int, int] = (8, 157),
    queries: int = 200,
    split: str = "background",
    held_out: str = "evaluation",
) -> ImageCompletion:
    """Handwritten letters to complete, split as in ``omniglot``; none are turned or distorted."""
    return ImageCompletion(omniglot_images(part, split, held_out).images, shots=shots, queries=queries)
