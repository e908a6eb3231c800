"""The optimum of noisy linear regression: Bayes' rule in closed form."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.kernels import precise
from metabook.learner import MetaLearner
from metabook.likelihood import Regression


class Weights(NamedTuple):
    """The posterior over the weights of B tasks."""

    mean: Tensor  #: [B, D]
    covariance: Tensor  #: [B, D, D]


class BayesLinear(MetaLearner):
    """Bayesian linear regression: ridge regression whose penalty is the true prior, with its uncertainty.

    Bishop (2006), eq. 3.53-3.54 and 3.58-3.59.
    State: mean [B, D] and covariance [B, D, D] of the weights.
    Chapter: formalism.
    Differs: none. On ``LinearRegression(dim=dim, noise=noise)`` no learner has a lower expected mse or nll.

    dim: D. noise: standard deviation of the targets around w.x.
    prior: standard deviation of each weight; 1 / sqrt(D), as in ``LinearRegression``, when None.

    Raises TypeError or ValueError for a dim below 1, and a noise or prior that is not above 0.
    """

    def __init__(self, dim: int = 4, *, noise: float = 0.25, prior: float | None = None) -> None:
        super().__init__(Regression())
        self.dim = check_count("dim", dim)
        self.noise = check_positive("noise", noise)
        self.prior = 1 / math.sqrt(dim) if prior is None else check_positive("prior", prior)

    def adapt(self, support: Examples) -> Weights:
        """The posterior N(m, S) over the weights of each task."""
        x, y = precise(support.x), precise(support.y)
        # S^-1 = I / prior^2 + X^T X / noise^2                                           (3.54)
        precision = torch.eye(self.dim, dtype=x.dtype, device=x.device) / self.prior**2 + x.mT @ x / self.noise**2
        factor = torch.linalg.cholesky(precision)
        # m = S X^T y / noise^2                                                          (3.53)
        mean = torch.cholesky_solve(x.mT @ y, factor).squeeze(-1) / self.noise**2
        return Weights(mean.to(support.x), torch.cholesky_inverse(factor).to(support.x))

    def predict(self, state: Weights, query_x: Tensor) -> Distribution:
        """Normal around m.x; batch shape [B, Q]."""
        # sigma^2(x) = noise^2 + x^T S x                                                 (3.59)
        variance = self.noise**2 + ((query_x @ state.covariance) * query_x).sum(-1, keepdim=True)
        return Independent(Normal(query_x @ state.mean.unsqueeze(-1), variance.sqrt()), 1)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats; there is nothing to train."""
        return self.likelihood.scores(self(batch), batch.query.y)["nll"].mean()
