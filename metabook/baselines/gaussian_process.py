"""Regression on Gaussian-process draws: the exact posterior, which is the optimum, and a fit for each task."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from metabook.checks import check_choice, check_count, check_positive, check_range
from metabook.episode import Episode, Examples, union
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
    told: the length-scale of each task is read from the second number of its inputs (``GaussianProcess(told=True)``).

    Raises TypeError or ValueError for length-scales or a noise that are not above 0, a range that is not low <= high,
    an unknown kernel, and nodes below 1; when called, for inputs of another shape than [1], or [2] if told.
    """

    precise = True

    def __init__(
        self,
        *,
        length_scale: float | tuple[float, float] = (0.25, 1.0),
        noise: float = 0.05,
        kernel: str = "rbf",
        nodes: int = 16,
        told: bool = False,
    ) -> None:
        super().__init__(Regression())
        low, high = check_range("length_scale", length_scale)
        check_positive("length_scale", low)
        self.noise = check_positive("noise", noise)
        self.kernel = check_choice("kernel", kernel, KERNELS)
        nodes = check_count("nodes", nodes)
        self.length_scales, self.priors = uniform_nodes(low, high, nodes) if low < high else ([low], [1.0])
        self.told = told

    def adapt(self, support: Examples) -> Posterior:
        """The posterior of each task under each length-scale of the prior, or under the one that was told."""
        x, told = self._split(support.x)
        length_scale = told if self.told else x.new_tensor(self.length_scales).expand(len(x), -1)
        return posterior(Examples(x, support.y), length_scale, noise=self.noise, kernel=self.kernel)

    def predict(self, state: Posterior, query_x: Tensor) -> Distribution:
        """Mixture of G Normals, one for each length-scale; batch shape [B, Q]."""
        x, _ = self._split(query_x)
        mean, variance = predictive(state, x, noise=self.noise, kernel=self.kernel)  # [B, G, Q]
        # p(y* | y) = sum over g of p(g | y) N(y*; mean_g, variance_g), p(g | y) proportional to prior_g p(y | g)
        logits = self._weighted(state)[:, None, None].expand(-1, query_x.shape[1], 1, -1)
        mixing = Categorical(logits=logits.to(query_x))
        mean, sd = mean.mT.unsqueeze(2).to(query_x), variance.sqrt().mT.unsqueeze(2).to(query_x)  # [B, Q, 1, G]
        return Independent(MixtureSameFamily(mixing, Normal(mean, sd)), 1)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats; there is nothing to train."""
        return self.likelihood.scores(self(batch), batch.query.y)["nll"].mean()

    def joint(self, batch: Episode) -> Tensor:
        """log p(y_T | x_T, C) of all targets of a task together in nats, [B]."""
        # p(y_T | y_C) = p(y_T, y_C) / p(y_C), each averaged over the length-scale
        both, support = (self._weighted(self.adapt(part)).logsumexp(1) for part in (union(*batch), batch.support))
        return (both - support).to(batch.query.y)

    def _weighted(self, state: Posterior) -> Tensor:
        """log of prior_g p(y | g), [B, G]."""
        return state.evidence if self.told else state.evidence + state.evidence.new_tensor(self.priors).log()

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [B, S, 1] and what they were told, [B, 1] (or [B, 0]); else ValueError."""
        if x.shape[2:] != (1 + self.told,):
            raise ValueError(f"x: inputs of shape {list(x.shape[2:])} given; ExactGP needs [{1 + self.told}]")
        return x[..., :1], x[:, 0, 1:]


class FittedGP(MetaLearner):
    """A Gaussian process with the length-scale that makes a task's support set likeliest: what one fits by hand.

    Rasmussen and Williams (2006), sec. 5.4.1: the maximum of the evidence.
    State: the posterior under that one length-scale, ``Posterior`` with G = 1.
    Chapter: generative.
    Differs: noise and kernel are given. The maximum is found on a grid of logarithms, made finer ``zooms`` times.

    length_scale: (low, high) of the search. noise, kernel: as in ``ExactGP``. points: of a grid, at least 3.
    Raises as ``ExactGP`` does.
    """

    precise = True

    def __init__(
        self,
        *,
        length_scale: tuple[float, float] = (0.25, 1.0),
        noise: float = 0.05,
        kernel: str = "rbf",
        points: int = 17,
        zooms: int = 4,
    ) -> None:
        super().__init__(Regression())
        self.length_scale = check_range("length_scale", length_scale)
        check_positive("length_scale", self.length_scale[0])
        self.noise = check_positive("noise", noise)
        self.kernel = check_choice("kernel", kernel, KERNELS)
        self.points, self.zooms = check_count("points", points, least=3), check_count("zooms", zooms)

    def adapt(self, support: Examples) -> Posterior:
        """The posterior under the likeliest length-scale of each task."""
        low, high = map(math.log, self.length_scale)
        step = precise(support.x).new_tensor((high - low) / (self.points - 1))
        grid = (low + step * torch.arange(self.points, device=step.device)).expand(len(support.x), -1)  # [B, G]
        for _ in range(self.zooms):
            best = grid.gather(1, self._posterior(support, grid.exp()).evidence.argmax(1, keepdim=True))
            grid = (best + step * torch.linspace(-1, 1, self.points).to(step)).clamp(low, high)
            step = 2 * step / (self.points - 1)
        return self._posterior(support, best.exp())

    def predict(self, state: Posterior, query_x: Tensor) -> Distribution:
        """Normal; batch shape [B, Q]."""
        mean, variance = predictive(state, query_x, noise=self.noise, kernel=self.kernel)  # [B, 1, Q]
        return Independent(Normal(mean.mT.to(query_x), variance.sqrt().mT.to(query_x)), 1)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats; there is nothing to train."""
        return self.likelihood.scores(self(batch), batch.query.y)["nll"].mean()

    def joint(self, batch: Episode) -> Tensor:
        """log p(y_T | x_T, C) in nats, [B], with the length-scale that was fitted to C."""
        state = self.adapt(batch.support)
        both = self._posterior(union(*batch), state.length_scale)
        return (both.evidence - state.evidence).squeeze(1).to(batch.query.y)

    def _posterior(self, support: Examples, length_scale: Tensor) -> Posterior:
        return posterior(support, length_scale, noise=self.noise, kernel=self.kernel)


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
