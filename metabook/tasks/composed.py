"""New characters from two: a way to make many more training classes than anybody has drawn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood
from metabook.tasks.images import Distortion, FewShot
from metabook.tasks.protocol import score_predictions

ARRANGEMENTS = ("beside", "above", "over")


class Composed:
    """Tasks some of whose classes are characters made of two others: side by side, one above the other, or overlaid.

    Letters are made of parts that come again in other letters. From C characters come more than C^2 such classes, and
    every image of one is made of an image of each part, so that it varies as its parts do.

    tasks: few-shot tasks on images, of an even number of ways 2 N and without distortion of their own; class j and
        class N + j are the parts of class j.
    part: the probability that a class is composed; otherwise it is the first of the two as it is. The arrangement is
        drawn for each class and is the same for all its images.
    distort: applied to every image afterwards (``Distort``).

    Raises ValueError for tasks that do not fit, or a part outside 0 to 1.
    """

    def __init__(self, tasks: FewShot, *, part: float = 0.5, distort: Distortion | None = None) -> None:
        shape = tasks.x_shape
        if tasks.way % 2 or tasks.distort is not None or len(shape) != 3 or shape[1] % 2 or shape[2] % 2:
            raise ValueError(
                f"tasks: {tasks.way} ways of inputs {list(shape)}, distorted: {tasks.distort is not None}; "
                "an even number of ways, images of even sides and no distortion are needed"
            )
        if not 0 <= part <= 1:
            raise ValueError(f"part: {part} given; 0 to 1 is allowed")
        self.tasks, self.part, self.distort = tasks, part, distort
        self.way, self.shots, self.queries = tasks.way // 2, tasks.shots, tasks.queries
        self.likelihood: Likelihood = Classification(self.way)
        self.x_shape: tuple[int, ...] = shape

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n tasks on the generator's device, support x [n, N*K, C, H, W] and query x [n, N*queries, C, H, W]."""
        drawn = self.tasks.sample(n, generator)
        uniform = torch.rand(2, n, self.way, generator=generator, device=generator.device)
        arrangement = (uniform[0] * len(ARRANGEMENTS)).long()
        chosen = torch.where(uniform[1] < self.part, arrangement, -1)  # [n, N]; -1: the first part as it is
        return Episode(*(self._examples(part, chosen, generator) for part in drawn))

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """accuracy (fraction) and nll (nats per query), [B]."""
        return score_predictions(learner, batch)

    def _examples(self, drawn: Examples, chosen: Tensor, generator: torch.Generator) -> Examples:
        n, size = drawn.y.shape
        each = size // self.tasks.way
        one, two = drawn.x.view(n, 2, self.way * each, *self.x_shape).flatten(2, 2).unbind(1)
        kinds = chosen.repeat_interleave(each, 1).flatten()  # of every image
        x = compose(one.flatten(0, 1), two.flatten(0, 1), kinds)
        if self.distort is not None:
            x = self.distort(x, generator)
        return Examples(x.view(one.shape), drawn.y[:, : self.way * each].contiguous())


def compose(one: Tensor, two: Tensor, kinds: Tensor) -> Tensor:
    """Images [n, C, H, W] in [0, 1] of two parts each; kinds: [n], places in ``ARRANGEMENTS``, -1 for ``one`` alone.

    A part that stands beside or above another is squeezed to half its width or height. The darkest ink stays as dark.
    """
    beside, above = ((1, 2), -1), ((2, 1), -2)
    squeezed = [torch.cat([F.avg_pool2d(x, size) for x in (one, two)], side) for size, side in (beside, above)]
    pictures = torch.stack([*squeezed, torch.maximum(one, two), one])  # kind -1 is the last
    x = pictures[kinds, torch.arange(len(one), device=one.device)]
    darkest, before = (t.amax((1, 2, 3), keepdim=True) for t in (x, torch.maximum(one, two)))
    return torch.where(kinds.view(-1, 1, 1, 1) < 0, x, (x * (before / darkest.clamp(min=1e-6))).clamp(max=1))
