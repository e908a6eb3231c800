"""Gaussian clusters: the classification tasks whose Bayes optimum is known."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.tasks.protocol import score_predictions


class Clusters:
    """N classes with centres ~ N(0, spread^2 I) and points ~ N(centre, noise^2 I), new centres in every task.

    The optimum is ``metabook.baselines.BayesClusters(way, spread=spread, noise=noise)``.

    way: N. shots, queries: examples per class in the support and in the query set. dim: D, the length of x.
    spread, noise: standard deviation of the centres and of the points around them.

    Raises TypeError or ValueError for counts below 1 (way: 2), and a spread or noise that is not above 0.
    """

    def __init__(
        self,
        *,
        way: int = 5,
        shots: int = 1,
        queries: int = 15,
        dim: int = 2,
        spread: float = 3.0,
        noise: float = 1.0,
    ) -> None:
        self.way = check_count("way", way, least=2)
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        self.dim = check_count("dim", dim)
        self.spread = check_positive("spread", spread)
        self.noise = check_positive("noise", noise)
        self.likelihood = Classification(way)
        self.x_shape = (dim,)

    def parameters(self, n: int, generator: torch.Generator) -> Tensor:
        """The centres of n tasks, [n, N, D]."""
        shape = (check_count("n", n), self.way, self.dim)
        return self.spread * torch.randn(shape, device=generator.device, generator=generator)

    def episode(self, parameters: Tensor, generator: torch.Generator) -> Episode:
        """New support and query examples of the tasks with centres ``parameters`` [B, N, D], class after class."""
        each = self.shots + self.queries
        shape = (len(parameters), self.way, each, self.dim)
        noise = torch.randn(shape, device=generator.device, generator=generator)
        points = parameters.unsqueeze(2) + self.noise * noise
        return Episode(_labelled(points[:, :, : self.shots]), _labelled(points[:, :, self.shots :]))

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: x [n, N*shots, D], y [n, N*shots], and queries, on the generator's device."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """accuracy and nll of each task, [B]."""
        return score_predictions(learner, batch)


def _labelled(points: Tensor) -> Examples:
    """Points [B, N, K, D] as examples [B, N*K, D] with their classes [B, N*K]."""
    b, way, k = points.shape[:3]
    labels = torch.arange(way, device=points.device).view(1, way, 1).expand(b, way, k)
    return Examples(points.flatten(1, 2), labels.flatten(1))
