"""Learners with a latent variable z for each task: the bound that trains them, and a tighter one to score them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from metabook.checks import check_count
from metabook.device import make_generator
from metabook.episode import Episode, Examples, union


class Gaussian(NamedTuple):
    """A belief about the latent variable of each task: independent Normals.

    mean, sd: [B, Z].
    """

    mean: Tensor
    sd: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """The points z = mean + sd * noise, [L, B, Z]. noise: [L, Z], the same for all tasks, or [L, B, Z]."""
        return self.mean + self.sd * (noise.unsqueeze(1) if noise.dim() == 2 else noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats, [L, B]. z: [L, B, Z]."""
        # log N(z; m, s^2) = -1/2 ((z - m) / s)^2 - log s - 1/2 log 2 pi, summed over Z
        u = (z - self.mean) / self.sd
        return (-0.5 * u.square() - self.sd.log() - 0.5 * math.log(2 * math.pi)).sum(-1)

    def kl(self, other: Gaussian) -> Tensor:
        """KL(self || other) in nats, [B]."""
        # sum over Z of log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2
        scale = self.sd / other.sd
        shift = (self.mean - other.mean) / other.sd
        return (0.5 * (scale.square() + shift.square() - 1) - scale.log()).sum(-1)


@runtime_checkable
class LatentLearner(Protocol):
    """What the bounds need of a learner."""

    def adapt(self, support: Examples) -> Any:
        """The state, from the support set alone."""
        ...

    def belief(self, examples: Examples) -> Gaussian:
        """q(z | examples), for any set of examples."""
        ...

    def decode(self, state: Any, z: Tensor, query_x: Tensor) -> Distribution:
        """p(y | x, z) for z [L, B, Z], batch shape [L, B, Q]."""
        ...


def elbo(learner: LatentLearner, batch: Episode, noise: Tensor) -> Tensor:
    """A lower bound of log p(y_T | x_T, C) in nats, [B]: the joint log-likelihood of the Q targets of each task.

    Garnelo et al. (2018), arXiv:1807.01622, sec. 2: the conditional prior p(z | C) is replaced by q(z | C), so that it
    is a bound of the model whose prior *is* q(z | C). C is the support set, T the query set.

    noise: standard normal draws [L, Z], over which the first term is averaged; the second is exact.
    """
    state, prior, q = learner.adapt(batch.support), learner.belief(batch.support), learner.belief(union(*batch))
    # E_q(z | C u T) sum over T of log p(y_t | x_t, z) - KL(q(z | C u T) || q(z | C))
    fit = learner.decode(state, q.at(noise), batch.query.x).log_prob(batch.query.y).sum(-1).mean(0)
    return fit - q.kl(prior)


def log_weights(learner: LatentLearner, batch: Episode, noise: Tensor) -> Tensor:
    """log p(y_T | x_T, z_l) q(z_l | C) / q(z_l | C u T) at z_l drawn from q(z | C u T), [L, B]. noise: [L, Z]."""
    state, prior, q = learner.adapt(batch.support), learner.belief(batch.support), learner.belief(union(*batch))
    z = q.at(noise)
    fit = learner.decode(state, z, batch.query.x).log_prob(batch.query.y).sum(-1)
    return fit + prior.log_prob(z) - q.log_prob(z)


def importance_weighted(learner: LatentLearner, batch: Episode, *, samples: int = 100, seed: int = 0) -> Tensor:
    """Estimate of log p(y_T | x_T, C) in nats, [B]: in expectation a lower bound, tighter with more samples.

    Burda, Grosse, Salakhutdinov (2016), arXiv:1509.00519, eq. 8, with q(z | C u T) as proposal and q(z | C) as prior.
    With one sample its expectation is the ELBO. It looks at the query targets: a score, never a prediction.

    Raises TypeError or ValueError for samples below 1.
    """
    size, y = learner.belief(batch.support).mean.shape[-1], batch.query.y
    shape = (check_count("samples", samples), *y.shape[:1], size)
    noise = torch.randn(shape, generator=make_generator(y.device, seed), device=y.device, dtype=y.dtype)
    # log 1/L sum over l of w_l
    return log_weights(learner, batch, noise).logsumexp(0) - math.log(samples)
