"""Functions of one variable lifted to several inputs, and a different number of inputs in every task."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count, check_weight
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.tasks.function_mixture import FunctionMixture
from metabook.tasks.protocol import Tasks


class Ridges(NamedTuple):
    """Tasks, and what is not said to a learner."""

    episode: Episode
    direction: Tensor  #: u, of length 1, [B, D]; 0 for inputs that are not in use
    size: Tensor  #: d, inputs in use, [B]


class Lifted:
    """Tasks over x in R^d, of which y depends along one direction only: y = f(u . x), f a task of one input.

    d is drawn task by task from 1 to D, and u is uniform on the unit sphere of R^d. An input t of f becomes
    x = t u + r - (r . u) u with r ~ N(0, spread^2 I), so u . x = t and all else is noise. Inputs that are not in use
    are 0: every x has D numbers.

    tasks: over inputs of shape [1]. inputs: D. used: the same d for every task; drawn when None. spread: standard
    deviation across u, in units of t.

    Raises TypeError or ValueError for inputs of another shape, counts below 1, more in use than there are, and a
    negative spread.
    """

    def __init__(self, tasks: Tasks, *, inputs: int = 3, used: int | None = None, spread: float = 2.0) -> None:
        if tuple(tasks.x_shape) != (1,):
            raise ValueError(f"tasks: inputs of shape {list(tasks.x_shape)} given; [1] is needed")
        self.tasks, self.inputs = tasks, check_count("inputs", inputs)
        if used is not None and check_count("used", used) > inputs:
            raise ValueError(f"used: {used} given; 1 to {inputs} are allowed")
        self.used, self.spread = used, check_weight("spread", spread)

    @property
    def likelihood(self) -> Likelihood:
        """The kind of target."""
        return self.tasks.likelihood

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one input, [D]."""
        return (self.inputs,)

    def draw(self, n: int, generator: torch.Generator) -> Ridges:
        """n tasks, with their directions and sizes."""
        episode, device = self.tasks.sample(n, generator), generator.device
        size = torch.randint(1, self.inputs + 1, (n,), generator=generator, device=device)
        if self.used is not None:
            size = torch.full_like(size, self.used)
        used = torch.arange(self.inputs, device=device) < size.unsqueeze(1)  # [n, D]
        u = torch.randn(n, self.inputs, generator=generator, device=device) * used
        u = u / u.norm(dim=1, keepdim=True)

        def lift(t: Tensor) -> Tensor:
            r = self.spread * torch.randn(*t.shape[:2], self.inputs, generator=generator, device=device)
            r = r * used.unsqueeze(1)
            along = (r * u.unsqueeze(1)).sum(2, keepdim=True)  # r . u
            return (t - along) * u.unsqueeze(1) + r

        return Ridges(Episode(*(Examples(lift(part.x), part.y) for part in episode)), u, size)

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n tasks on the generator's device: x [n, S, D] and y [n, S, 1]."""
        return self.draw(n, generator).episode

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """The scores of the tasks themselves, [B]."""
        return self.tasks.score(learner, batch)


def lifted_mixture_tasks(
    *,
    families: int = 5,
    only: str | None = None,
    shots: int = 30,
    queries: int = 20,
    noise: float = 0.0,
    inputs: int = 3,
    used: int | None = None,
    spread: float = 2.0,
) -> Lifted:
    """``FunctionMixture`` along a direction of one to three inputs."""
    mixture = FunctionMixture(families=families, only=only, shots=shots, queries=queries, noise=noise)
    return Lifted(mixture, inputs=inputs, used=used, spread=spread)
