"""Linear functions whose inputs come in other units in every task: no one step size fits them all."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count, check_positive, check_range
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.protocol import score_predictions


class Bowl(NamedTuple):
    """What tells B tasks apart, each [B, D]."""

    weights: Tensor  #: w, of the inputs in their own units
    sigma: Tensor  #: standard deviation of every input coordinate


class MixedCurvature:
    """y = w.(x / sigma) + noise * e: w ~ N(0, I / D), x_d ~ N(0, sigma_d^2), e ~ N(0, 1), sigma new in every task.

    One scale, log-uniform between the ends of ``scale``, multiplies all coordinates of a task; on one axis, drawn anew
    for every task, sigma is sqrt(condition) times larger still. A linear model under squared error has the expected
    Hessian 2 diag(sigma^2): its size differs by (high / low)^2 between tasks, its condition number is ``condition``,
    and the steep axis is another one each time. The signal w.(x / sigma) has variance 1 in every task.

    The optimum is that of someone who knows sigma: ``metabook.baselines.BayesLinear(dim, noise=noise)`` on the tasks of
    ``MixedCurvature(..., whitened=True)``. No learner has a lower expected mse or nll.

    dim: D, the length of x. shots, queries: examples per task in the support and in the query set.
    noise: standard deviation of the noise on y. scale: (low, high), above 0. condition: at least 1.
    whitened: show x / sigma in place of x. The draws are the same, so a generator makes the same tasks either way.

    Raises TypeError or ValueError for counts below 1, a noise or scale that is not above 0, and a condition below 1.
    """

    def __init__(
        self,
        *,
        dim: int = 4,
        shots: int = 20,
        queries: int = 15,
        noise: float = 0.25,
        scale: tuple[float, float] = (0.3, 3.0),
        condition: float = 10.0,
        whitened: bool = False,
    ) -> None:
        self.likelihood = Regression()
        self.dim = check_count("dim", dim)
        self.x_shape = (dim,)
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        self.noise = check_positive("noise", noise)
        self.scale = check_range("scale", scale)
        check_positive("scale", self.scale[0])
        if check_positive("condition", condition) < 1:
            raise ValueError(f"condition: {condition} given; a number of at least 1 is needed")
        self.condition = float(condition)
        self.whitened = whitened

    def parameters(self, n: int, generator: torch.Generator) -> Bowl:
        """w and sigma of n tasks, each [n, D]."""
        check_count("n", n)
        weights = _normal(n, self.dim, generator=generator) / math.sqrt(self.dim)
        low, high = (math.log(end) for end in self.scale)
        scale = torch.empty(n, 1, device=generator.device).uniform_(low, high, generator=generator).exp()
        axis = torch.randint(self.dim, (n, 1), device=generator.device, generator=generator)
        return Bowl(weights, scale.repeat(1, self.dim).scatter(1, axis, math.sqrt(self.condition) * scale))

    def episode(self, parameters: Bowl, generator: torch.Generator) -> Episode:
        """New support and query examples of the given tasks."""
        n, s = len(parameters.weights), self.shots
        z = _normal(n, s + self.queries, self.dim, generator=generator)
        y = z @ parameters.weights.unsqueeze(-1) + self.noise * _normal(n, s + self.queries, 1, generator=generator)
        x = z if self.whitened else z * parameters.sigma.unsqueeze(1)
        return Episode(Examples(x[:, :s], y[:, :s]), Examples(x[:, s:], y[:, s:]))

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: x [n, shots, D], y [n, shots, 1], and queries, on the generator's device."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)


def _normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, device=generator.device, generator=generator)
