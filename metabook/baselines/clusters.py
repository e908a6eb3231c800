"""The optimum of classifying Gaussian clusters: Bayes' rule in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from metabook.checks import check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification


class Centres(NamedTuple):
    """The posterior over the class centres of B tasks."""

    mean: Tensor  #: [B, N, D]
    variance: Tensor  #: [B, N], of every coordinate


class BayesClusters(MetaLearner):
    """The Bayes classifier of Gaussian clusters with unknown centres: class means, shrunk and weighed by what is known.

    Bishop (2006), eq. 2.141-2.142 (posterior of a mean), 4.62-4.63 (class probabilities), with equal class priors.
    State: mean [B, N, D] and variance [B, N] of the centres.
    Chapter: metric.
    Differs: none. On ``Clusters(way=way, spread=spread, noise=noise)`` no learner that labels one query at a time has
        a higher expected accuracy or a lower expected nll. A class without support examples keeps its prior.

    spread, noise: standard deviation of the centres and of the points around them.

    Raises TypeError or ValueError for a way below 2, and a spread or noise that is not above 0.
    """

    def __init__(self, way: int = 5, *, spread: float = 3.0, noise: float = 1.0) -> None:
        super().__init__(Classification(way))
        self.spread = check_positive("spread", spread)
        self.noise = check_positive("noise", noise)

    def adapt(self, support: Examples) -> Centres:
        """The posterior N(m_c, v_c I) over the centre of each class."""
        member = F.one_hot(support.y, self.likelihood.size).to(support.x.dtype)  # [B, S, N]
        # 1 / v_c = 1 / spread^2 + K_c / noise^2                                         (2.142)
        variance = 1 / (1 / self.spread**2 + member.sum(1) / self.noise**2)
        # m_c = v_c * sum of the class's points / noise^2                                (2.141)
        mean = variance.unsqueeze(-1) * (member.mT @ support.x) / self.noise**2
        return Centres(mean, variance)

    def predict(self, state: Centres, query_x: Tensor) -> Distribution:
        """p(c | x) proportional to N(x; m_c, (v_c + noise^2) I); batch shape [B, Q]."""
        variance = (state.variance + self.noise**2).unsqueeze(1)  # [B, 1, N]
        distance = (query_x.unsqueeze(2) - state.mean.unsqueeze(1)).square().sum(-1)  # [B, Q, N]
        return self.likelihood.distribution(-0.5 * (distance / variance + query_x.shape[-1] * torch.log(variance)))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries' classes in nats; there is nothing to train."""
        return self.likelihood.scores(self(batch), batch.query.y)["nll"].mean()
