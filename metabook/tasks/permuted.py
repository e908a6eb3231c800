"""Images as they are, and images whose pixels stand in another order: the same tasks, seen by two kinds of eye."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count, check_weight
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.tasks.characters import glyph_tasks
from metabook.tasks.protocol import Tasks


class Scrambled(NamedTuple):
    """Tasks, and which of them have their pixels in the other order."""

    episode: Episode
    scrambled: Tensor  #: [B] bool


class Permuted:
    """Tasks over images of which a part, drawn task by task, have all pixels moved by one fixed permutation.

    Neighbours are torn apart, and nothing is lost: to a dense layer both kinds are equally hard, to a convolution the
    second is noise. Support and query set of a task are of one kind; channels stay together.

    tasks: over images [C, H, W]. part: how likely a task is to be of the second kind. seed: fixes the permutation.

    Raises ValueError for inputs that are no images and a part outside 0..1, TypeError or ValueError for a bad seed.
    """

    def __init__(self, tasks: Tasks, *, part: float = 0.5, seed: int = 0) -> None:
        if len(tasks.x_shape) != 3:
            raise ValueError(f"tasks: inputs of shape {list(tasks.x_shape)} given; images [C, H, W] are needed")
        if check_weight("part", part) > 1:
            raise ValueError(f"part: {part} given; 0 to 1 is allowed")
        self.tasks, self.part = tasks, part
        generator = torch.Generator().manual_seed(check_count("seed", seed, least=0))
        self.order = torch.randperm(math.prod(tasks.x_shape[1:]), generator=generator)  #: [H W]

    @property
    def likelihood(self) -> Likelihood:
        """The kind of target."""
        return self.tasks.likelihood

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.tasks.x_shape

    def draw(self, n: int, generator: torch.Generator) -> Scrambled:
        """n tasks, with what is not said to a learner: which are of the second kind."""
        episode = self.tasks.sample(n, generator)
        moved = torch.rand(n, generator=generator, device=generator.device) < self.part
        return Scrambled(Episode(*(Examples(self._move(p.x, moved), p.y) for p in episode)), moved)

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n tasks on the generator's device."""
        return self.draw(n, generator).episode

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """The scores of the tasks themselves, [B]."""
        return self.tasks.score(learner, batch)

    def _move(self, x: Tensor, moved: Tensor) -> Tensor:
        other = x.flatten(3)[..., self.order.to(x.device)].view(x.shape)
        return torch.where(moved.view(-1, 1, 1, 1, 1), other, x)


def permuted_glyph_tasks(
    part: str, *, way: int = 5, shots: int = 1, queries: int = 15, distort: bool = True, permuted: float = 0.5
) -> Permuted:
    """Printed letters, half of the tasks with their pixels permuted; the permutation is the same in every part."""
    return Permuted(glyph_tasks(part, way=way, shots=shots, queries=queries, distort=distort), part=permuted)
