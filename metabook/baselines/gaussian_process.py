"""The optimum of regression on Gaussian-process draws: the exact posterior."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from metabook.checks import check_choice, check_count, check_positive, check_range
from metabook.episode import Episode, Examples
from metabook.kernels import KERNELS, covariance, precise
from metabook.learner import MetaLearner
from metabook.likelihood import Regression


class Posterior(NamedTuple):
    """What B tasks' support sets say, under each of G length-scales."""

    x: Tensor  #: support inputs, [B, S, 1]
    length_scale: Tensor  #: [B, G]
    factor: Tensor  #: Cholesky factor of K + noise^2 I, [B, G, S, S], float64
    alpha: Tensor  #: (K + noise^2 I)^-1 y, [B, G, S, 1], float64
    evidence: Tensor  #: log p(y | x, length-scale) of the support set in nats, [B, G], float64


class ExactGP(MetaLearner):
    """The exact posterior of a Gaussian process, averaged over the length-scale where it is not known.

    Rasmussen and Williams (2006), alg. 2.1 (posterior and evidence) and eq. 5.3-5.5 (average over length-scales).
    State: support inputs, factor, alpha and evidence for each of G length-scales (``Posterior``).
    Chapter: generative.
    Differs: the average over a uniform length-scale is a sum over G Gauss-Legendre nodes, weighted by the evidence.
        Predictions are the marginal distributions of single targets (what the nll of every learner here scores); the
        mean of the mixture is exact for its nodes.

    length_scale: a number, or (low, high) of its uniform distribution. noise: standard deviation of the targets around
    the function. kernel: "rbf", "matern52" or "periodic". nodes: G, when the length-scale is not known.

    Raises TypeError or ValueError for length-scales or a noise that are not above 0, a range that is not low <= high,
    an unknown kernel, and nodes below 1.
    """

    def __init__(
        self,
        *,
        length_scale: float | tuple[float, float] = (0.25, 1.0),
        noise: float = 0.05,
        kernel: str = "rbf",
        nodes: int = 16,
    ) -> None:
        super().__init__(Regression())
        low, high = check_range("length_scale", length_scale)
        check_positive("length_scale", low)
        self.noise = check_positive("noise", noise)
        self.kernel = check_choice("kernel", kernel, KERNELS)
        nodes = check_count("nodes", nodes)
        self.length_scales, self.priors = uniform_nodes(low, high, nodes) if low < high else ([low], [1.0])

    def adapt(self, support: Examples) -> Posterior:
        """The posterior of each task under each length-scale of the prior."""
        x = precise(support.x)
        length_scale = x.new_tensor(self.length_scales).expand(len(x), -1)
        return posterior(support, length_scale, noise=self.noise, kernel=self.kernel)

    def predict(self, state: Posterior, query_x: Tensor) -> Distribution:
        """Mixture of G Normals, one for each length-scale; batch shape [B, Q]."""
        mean, variance = predictive(state, query_x, noise=self.noise, kernel=self.kernel)  # [B, G, Q]
        # p(y* | y) = sum over g of p(g | y) N(y*; mean_g, variance_g), p(g | y) proportional to prior_g p(y | g)
        logits = state.evidence + state.evidence.new_tensor(self.priors).log()
        mixing = Categorical(logits=logits[:, None, None].expand(-1, query_x.shape[1], 1, -1).to(query_x))
        mean, sd = mean.mT.unsqueeze(2).to(query_x), variance.sqrt().mT.unsqueeze(2).to(query_x)  # [B, Q, 1, G]
        return Independent(MixtureSameFamily(mixing, Normal(mean, sd)), 1)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats; there is nothing to train."""
        return self.likelihood.scores(self(batch), batch.query.y)["nll"].mean()


def posterior(support: Examples, length_scale: Tensor, *, noise: float, kernel: str = "rbf") -> Posterior:
    """Condition Gaussian processes of length-scales [B, G] on the support sets: Rasmussen and Williams, alg. 2.1.

    With each task's true length-scale ([B, 1], from ``GaussianProcess.parameters``) and ``predictive`` this is the
    bound of a learner that is told it.
    """
    x, y = precise(support.x), precise(support.y)
    length_scale = precise(length_scale)
    k = covariance(kernel, x.unsqueeze(1), x.unsqueeze(1), length_scale)  # [B, G, S, S]
    k.diagonal(dim1=-2, dim2=-1).add_(noise**2 + 1e-10)
    factor = torch.linalg.cholesky(k)
    alpha = torch.cholesky_solve(y.unsqueeze(1).expand(-1, k.shape[1], -1, -1), factor)
    # log p(y) = -1/2 y^T alpha - sum log L_ii - S/2 log 2 pi
    fit = (y.unsqueeze(1) * alpha).sum((-2, -1))
    volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    evidence = -0.5 * fit - volume - 0.5 * x.shape[1] * math.log(2 * math.pi)
    return Posterior(support.x, length_scale, factor, alpha, evidence)


def predictive(state: Posterior, query_x: Tensor, *, noise: float, kernel: str = "rbf") -> tuple[Tensor, Tensor]:
    """Mean and variance (noise included) of single targets at query_x [B, Q, 1]: each [B, G, Q], float64."""
    k = covariance(kernel, precise(state.x).unsqueeze(1), precise(query_x).unsqueeze(1), state.length_scale)
    mean = (k.mT @ state.alpha).squeeze(-1)
    explained = torch.linalg.solve_triangular(state.factor, k, upper=False).square().sum(-2)
    return mean, 1 + noise**2 - explained


def uniform_nodes(low: float, high: float, n: int) -> tuple[list[float], list[float]]:
    """Gauss-Legendre nodes of the uniform distribution on [low, high], and their weights, which sum to 1."""
    # Golub and Welsch (1969): the nodes are the eigenvalues of the Jacobi matrix of the Legendre polynomials
    i = torch.arange(1, n, dtype=torch.float64)
    off = i / torch.sqrt(4 * i.square() - 1)
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return ((high - low) / 2 * values + (high + low) / 2).tolist(), vectors[0].square().tolist()
