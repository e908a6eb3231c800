"""Sine waves of unknown amplitude and phase: the regression tasks of MAML."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count, check_range
from metabook.episode import Episode
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.curves import draw_examples
from metabook.tasks.protocol import score_predictions


class Sinusoid(NamedTuple):
    """What tells B sinusoid tasks apart, each [B]."""

    amplitude: Tensor
    phase: Tensor  #: radians
    frequency: Tensor  #: radians per unit of x


class Sinusoids:
    """y = amplitude * sin(frequency * x - phase), without noise; every task has its own wave.

    Finn, Abbeel, Levine (2017), arXiv:1703.03400, sec. 5.1: amplitude uniform in [0.1, 5], phase in [0, pi], x in
    [-5, 5], frequency 1. Support and query inputs are independent draws.

    shots, queries: examples per task in the support and in the query set.
    amplitude, phase, frequency, x_range: (low, high) of a uniform distribution; equal ends fix the value.

    Raises TypeError or ValueError for counts below 1 and ranges that are not low <= high.
    """

    x_shape = (1,)

    def __init__(
        self,
        *,
        shots: int = 5,
        queries: int = 15,
        amplitude: tuple[float, float] = (0.1, 5.0),
        phase: tuple[float, float] = (0.0, math.pi),
        x_range: tuple[float, float] = (-5.0, 5.0),
        frequency: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.likelihood = Regression()
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        self.amplitude = check_range("amplitude", amplitude)
        self.phase = check_range("phase", phase)
        self.x_range = check_range("x_range", x_range)
        self.frequency = check_range("frequency", frequency)

    def parameters(self, n: int, generator: torch.Generator) -> Sinusoid:
        """Amplitude, phase and frequency of n tasks, each [n]."""
        check_count("n", n)

        def uniform(bounds: tuple[float, float]) -> Tensor:
            return torch.empty(n, device=generator.device).uniform_(*bounds, generator=generator)

        return Sinusoid(uniform(self.amplitude), uniform(self.phase), uniform(self.frequency))

    def curve(self, parameters: Sinusoid, x: Tensor) -> Tensor:
        """The waves at x [B, S, 1]: [B, S, 1]."""
        amplitude, phase, frequency = (p.view(-1, 1, 1) for p in parameters)
        return amplitude * torch.sin(frequency * x - phase)

    def episode(self, parameters: Sinusoid, generator: torch.Generator) -> Episode:
        """New support and query examples of the given tasks."""
        sizes = (self.shots, self.queries)
        return draw_examples(partial(self.curve, parameters), len(parameters.phase), sizes, self.x_range, generator)

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: x and y [n, shots, 1] and [n, queries, 1] on the generator's device."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)
