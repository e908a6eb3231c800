"""Linear functions of unknown weights, seen through noise: the tasks whose Bayes optimum is a ridge regression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.protocol import score_predictions


class LinearRegression:
    """y = w.x + noise * e with w ~ N(0, I / D), x ~ N(0, I) and e ~ N(0, 1), so that w.x has variance 1.

    The optimum is ``metabook.baselines.BayesLinear(dim, noise=noise)``.

    dim: D, the length of x. shots, queries: examples per task in the support and in the query set.
    noise: standard deviation of the noise on y, in support and query alike.

    Raises TypeError or ValueError for counts below 1 and a noise that is not above 0.
    """

    def __init__(self, *, dim: int = 4, shots: int = 10, queries: int = 15, noise: float = 0.25) -> None:
        self.likelihood = Regression()
        self.dim = check_count("dim", dim)
        self.x_shape = (dim,)
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        self.noise = check_positive("noise", noise)

    def parameters(self, n: int, generator: torch.Generator) -> Tensor:
        """The weights w of n tasks, [n, D]."""
        return _normal(check_count("n", n), self.dim, generator=generator) / math.sqrt(self.dim)

    def episode(self, parameters: Tensor, generator: torch.Generator) -> Episode:
        """New support and query examples of the tasks with weights ``parameters`` [B, D]."""
        n, s = len(parameters), self.shots
        x = _normal(n, s + self.queries, self.dim, generator=generator)
        y = x @ parameters.unsqueeze(-1) + self.noise * _normal(n, s + self.queries, 1, generator=generator)
        return Episode(Examples(x[:, :s], y[:, :s]), Examples(x[:, s:], y[:, s:]))

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: x [n, shots, D], y [n, shots, 1], and queries, on the generator's device."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)


def _normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, device=generator.device, generator=generator)
