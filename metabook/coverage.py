"""Intervals of predictions: how often they hold the target, how wide they are, and what factor mends them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal
from torch.special import ndtr, ndtri

from metabook.checks import check_positive

LEVEL = 0.9  #: the probability that an interval claims


class Normals(NamedTuple):
    """The distribution of each single target: a mixture of G Normals, [B, Q, Dy, G] each, float64."""

    log_weight: Tensor
    mean: Tensor
    sd: Tensor

    def cdf(self, y: Tensor) -> Tensor:
        """P(target <= y), [B, Q, Dy]. y: [B, Q, Dy]."""
        return (self.log_weight.exp() * ndtr((y.unsqueeze(-1) - self.mean) / self.sd)).sum(-1)

    def quantile(self, p: float) -> Tensor:
        """The value below which a target lies with probability p, [B, Q, Dy].

        It lies between the least and the greatest quantile of the Normals; bisection finds it there.
        """
        ends = self.mean + self.sd * float(ndtri(torch.tensor(p, dtype=torch.float64)))
        low, high = ends.amin(-1), ends.amax(-1)
        for _ in range(40 if ends.shape[-1] > 1 else 0):  # to 1e-12 of the first bracket
            middle = (low + high) / 2
            below = self.cdf(middle) < p
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def nll(self, y: Tensor) -> Tensor:
        """Negative log-density of each target by itself in nats, mean over queries, [B]. y: [B, Q, Dy]."""
        u = (y.unsqueeze(-1) - self.mean) / self.sd
        each = self.log_weight - 0.5 * u.square() - self.sd.log() - 0.5 * math.log(2 * math.pi)
        return -each.logsumexp(-1).sum(-1).mean(1)

    def interval(self, level: float = LEVEL) -> Interval:
        """The interval that leaves out (1 - level) / 2 of the probability on either side of each single target.

        Raises TypeError or ValueError for a level that is not between 0 and 1.
        """
        rest = (1 - _check_level(level)) / 2
        return Interval(self.quantile(rest), self.quantile(1 - rest))


class Interval(NamedTuple):
    """An interval for each target, [B, Q, Dy] each."""

    low: Tensor
    high: Tensor

    def covers(self, y: Tensor) -> Tensor:
        """Which targets lie inside, bool [B, Q, Dy]."""
        return (self.low <= y) & (y <= self.high)

    def scores(self, y: Tensor) -> dict[str, Tensor]:
        """Of each task, [B]: coverage, the fraction of targets inside; width, the mean of the intervals."""
        return {"coverage": self.covers(y).double().mean((1, 2)), "width": (self.high - self.low).mean((1, 2))}

    def stretch(self, factor: float) -> Interval:
        """The interval with the same middle and ``factor`` times the width. Raises unless the factor is above 0."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return Interval(middle - check_positive("factor", factor) * half, middle + factor * half)


def normals(predictions: Distribution) -> Normals:
    """The distribution of each single target, for predictions that are Normals or mixtures of Normals.

    Normals of batch shape [L, B, Q], one for each latent sample, are a mixture of L in which all weigh the same.

    Raises TypeError for other distributions.
    """
    base = predictions.base_dist if isinstance(predictions, Independent) else predictions
    if isinstance(base, Normal):
        mean, sd = base.loc.double(), base.scale.double()  # [..., B, Q, Dy]
        mean, sd = (t.movedim(0, -1) if t.dim() == 4 else t.unsqueeze(-1) for t in (mean, sd))
        return Normals(torch.full_like(mean, -math.log(mean.shape[-1])), mean, sd)
    if isinstance(base, MixtureSameFamily):
        parts, mixing = base.component_distribution, base.mixture_distribution
        if isinstance(parts, Normal) and isinstance(mixing, Categorical):
            log_weight = mixing.logits.double().log_softmax(-1).expand_as(parts.loc)
            return Normals(log_weight, parts.loc.double(), parts.scale.double())
    raise TypeError(f"predictions: {type(base).__name__} given; Normals and mixtures of Normals have intervals here")


def covered(predictions: Distribution, y: Tensor, *, level: float = LEVEL) -> Tensor:
    """The part of a task's targets y [B, Q, Dy] inside their central intervals of probability ``level``, [B].

    The ends need not be computed: a target lies inside where its distribution function is within level / 2 of one half.
    If predictions are right these values are uniform between 0 and 1 (the probability integral transform; Gneiting,
    Balabdaoui, Raftery 2007, doi:10.1111/j.1467-9868.2007.00587.x, sec. 2), and ``level`` of the targets are covered.

    Raises as ``normals``, and TypeError or ValueError for a level that is not between 0 and 1.
    """
    inside = (normals(predictions).cdf(y) - 0.5).abs() < _check_level(level) / 2
    return inside.to(y.dtype).flatten(1).mean(1)


def fit_factor(intervals: Interval, y: Tensor, level: float = LEVEL) -> float:
    """The least factor with which the stretched intervals cover at least ``level`` of the targets y [B, Q, Dy].

    Fitted on held-out tasks this is split conformal prediction with |y - middle| / half-width as the score
    (Angelopoulos and Bates 2021, arXiv:2107.07511), without its correction for few examples.

    Raises ValueError for a level that is not between 0 and 1, and intervals without width.
    """
    half = (intervals.high - intervals.low) / 2
    if not bool((half > 0).all()):
        raise ValueError("intervals: some of width 0 given; a factor cannot stretch them")
    distance = ((y - (intervals.low + intervals.high) / 2).abs() / half).flatten()
    rank = math.ceil(_check_level(level) * len(distance))
    return float(distance.double().kthvalue(rank).values)


def _check_level(level: float) -> float:
    if check_positive("level", level) >= 1:
        raise ValueError(f"level: {level} given; a probability between 0 and 1 is needed")
    return level
