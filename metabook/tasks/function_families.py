"""Functions of several kinds: waves, lines, parabolas, kinks and steps, which no single start is close to."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count, check_range, check_weight
from metabook.episode import Episode
from metabook.functions import FAMILIES, RANGES, shapes
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.curves import draw_examples
from metabook.tasks.protocol import score_predictions


class Member(NamedTuple):
    """What tells B functions apart, each [B]."""

    family: Tensor  #: int64, a place in ``FAMILIES``
    a: Tensor  #: amplitude or slope
    c: Tensor  #: centre, or phase in radians
    b: Tensor  #: offset


class FunctionFamilies:
    """y = a g(x - c) + b + noise, g one of sin z, z, z^2, |z| and tanh z: a family of functions drawn for every task.

    The regression tasks of Vuorio, Sun, Hu, Lim (2019), arXiv:1910.13616, sec. 5.1, with the ranges of the authors'
    code (github.com/vuoristo/MMAML-Regression, maml/datasets/simple_functions.py) and its noise. All
    families are equally likely; where the code fills a batch with equal numbers of each, every task is drawn here.

    The optimum is ``metabook.baselines.BayesFunctions`` with the same modes and noise.

    modes: the first so many of ``FAMILIES``; the paper has 2, 3 and 5.
    shots, queries: examples per task in the support and in the query set. x_range: (low, high) of the inputs.
    noise: standard deviation of the noise on all targets, those of the queries too.

    Raises TypeError or ValueError for counts below 1, more modes than there are, a range that is not low <= high, and a
    negative noise.
    """

    x_shape = (1,)

    def __init__(
        self,
        *,
        modes: int = 5,
        shots: int = 5,
        queries: int = 10,
        noise: float = 0.3,
        x_range: tuple[float, float] = (-5.0, 5.0),
    ) -> None:
        self.likelihood = Regression()
        if check_count("modes", modes) > len(FAMILIES):
            raise ValueError(f"modes: {modes} given; 1 to {len(FAMILIES)} are allowed")
        self.modes = modes
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        self.noise = check_weight("noise", noise)
        self.x_range = check_range("x_range", x_range)

    def parameters(self, n: int, generator: torch.Generator) -> Member:
        """Family, a, c and b of n functions, each [n]."""
        device = generator.device
        family = torch.randint(self.modes, (check_count("n", n),), generator=generator, device=device)
        low, high = torch.tensor(RANGES, device=device)[family].unbind(-1)  # [n, 3] each
        size, c, b = (low + (high - low) * torch.rand(n, 3, generator=generator, device=device)).unbind(1)
        minus = torch.rand(n, generator=generator, device=device) < 0.5
        return Member(family, torch.where(minus & (family != 0), -size, size), c, b)

    def curve(self, parameters: Member, x: Tensor) -> Tensor:
        """The functions at x [B, S, 1], without noise: [B, S, 1]."""
        family, a, c, b = (p.view(-1, 1, 1) for p in parameters)
        return a * shapes(x - c).gather(-1, family.expand(*x.shape)) + b

    def episode(self, parameters: Member, generator: torch.Generator) -> Episode:
        """New support and query examples of the given functions."""
        sizes = (self.shots, self.queries)
        functions = len(parameters.family)
        return draw_examples(partial(self.curve, parameters), functions, sizes, self.x_range, generator, self.noise)

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: x and y [n, shots, 1] and [n, queries, 1] on the generator's device."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)
