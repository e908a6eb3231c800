"""The optimum of functions of several families: Bayes' rule over family, slope, centre and offset."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.special import ndtr

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.functions import FAMILIES, RANGES, shapes
from metabook.kernels import precise
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.mapping import in_chunks


class FunctionPosterior(NamedTuple):
    """What the posterior of B tasks says, M families and G centres each."""

    family: Tensor  #: the probability of each family, [B, M]
    slopes: Tensor  #: E[a; family, centre], which sums over both to E[a], [B, M, G]
    offset: Tensor  #: E[b], [B]


class BayesFunctions(MetaLearner):
    """The posterior mean of a function of unknown family: the least expected squared error that is possible.

    State: probability of each family [B, M], expected slopes [B, M, G], expected offset [B] (``FunctionPosterior``).
    Chapter: generative.
    Differs: b is integrated exactly, a and c by the midpoint rule with G nodes each. On ``FunctionFamilies`` with the
        same modes and noise no learner has a lower expected mse, up to the error of that rule. The variance of its
        predictions is 1/2, as for every regression learner here, and so its nll is the mse up to a constant.

    modes: M, the first so many of the families. noise: standard deviation of the targets around the function.

    Raises TypeError or ValueError for modes or nodes below 1, more modes than there are, and a noise that is not above
    0.
    """

    def __init__(self, *, modes: int = 5, noise: float = 0.3, nodes: int = 64) -> None:
        super().__init__(Regression())
        if check_count("modes", modes) > len(FAMILIES):
            raise ValueError(f"modes: {modes} given; 1 to {len(FAMILIES)} are allowed")
        self.modes = modes
        self.noise = check_positive("noise", noise)
        self.nodes = check_count("nodes", nodes)

    def adapt(self, support: Examples) -> FunctionPosterior:
        """The posterior of each task, a few tasks at a time: the grid of one has M G^2 nodes."""
        parts = in_chunks(lambda s: self._adapt(support.tasks(s)), len(support.x), 16)
        return FunctionPosterior(*(torch.cat(leaves) for leaves in zip(*parts, strict=True)))

    def predict(self, state: FunctionPosterior, query_x: Tensor) -> Distribution:
        """The posterior mean of the function at the queries; batch shape [B, Q]."""
        g = self._shapes(query_x, self._nodes(query_x)[1])  # [B, Q, M, G]
        # E[f(x)] = sum over families and centres of E[a; family, c] g(x - c), + E[b]
        mean = (g * state.slopes.unsqueeze(1)).sum((2, 3)) + state.offset.unsqueeze(1)
        return self.likelihood.distribution(mean.unsqueeze(-1))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean squared error of the queries; there is nothing to train."""
        return self.likelihood.scores(self(batch), batch.query.y)["mse"].mean()

    def _adapt(self, support: Examples) -> FunctionPosterior:
        x, y = precise(support.x), precise(support.y)  # [B, S, 1]
        a, c, (low, high) = self._nodes(x)
        free = (high > low).to(x)  # [M, 1]; of a wave b is known, 0
        s, sigma = x.shape[1], self.noise
        # Given family and c, y_s = a g_s + b + noise. Less the means over S, where b is free, b is gone:
        g = self._shapes(x, c)  # [B, S, M, G]
        y = y.unsqueeze(-1).expand_as(g)
        g_mean, y_mean = free * g.mean(1), free * y.mean(1)  # [B, M, G]
        gg, gy = (((g - g_mean.unsqueeze(1)) * (v - m.unsqueeze(1))).sum(1) for v, m in ((g, g_mean), (y, y_mean)))
        # log p(y | a, c) = (a gy - a^2 gg / 2) / sigma^2 + log of the integral over b + constants
        a = a.unsqueeze(-1)  # [M, A, 1]
        fit = (a * gy.unsqueeze(2) - 0.5 * a.square() * gg.unsqueeze(2)) / sigma**2  # [B, M, A, G]
        fit = fit - 0.5 * (y - y_mean.unsqueeze(1)).square().sum(1).unsqueeze(2) / sigma**2
        # b given a and c: N(mean of y - a g, sigma^2 / S) between low and high
        sd = sigma / math.sqrt(s)
        centre = y_mean.unsqueeze(2) - a * g_mean.unsqueeze(2)
        volume, mean_b = truncated(centre, sd, low.unsqueeze(-1), high.unsqueeze(-1))
        inside = (math.sqrt(2 * math.pi) * sd * volume / (high - low).clamp(min=1e-12).unsqueeze(-1)).log()
        free = free.unsqueeze(-1)
        weight = (fit + torch.where(free > 0, inside, 0.0)).flatten(1).softmax(1).view(fit.shape)
        offset = (weight * torch.where(free > 0, mean_b, 0.0)).sum((1, 2, 3))
        return FunctionPosterior(*(t.to(support.x) for t in (weight.sum((2, 3)), (weight * a).sum(2), offset)))

    def _nodes(self, like: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Midpoints of a [M, A] and c [M, G], and the ends of b, [M, 1] each."""
        ends = torch.tensor(RANGES[: self.modes]).to(like)  # [M, 3, 2]
        low, high = ends.unbind(-1)
        u = ((torch.arange(self.nodes) + 0.5) / self.nodes).to(like)
        c = low[:, 1:2] + (high - low)[:, 1:2] * u
        v = u.expand(self.modes, -1).clone()
        v[1:] = 2 * u - 1  # of both signs, but for the amplitude of a wave
        a = v.sign() * (low[:, :1] + (high - low)[:, :1] * v.abs())
        return a, c, (low[:, 2:], high[:, 2:])

    def _shapes(self, x: Tensor, c: Tensor) -> Tensor:
        """g(x - c): x [B, S, 1], c [M, G] -> [B, S, M, G]."""
        return torch.stack([shapes((x - c[m]).unsqueeze(-1))[..., m] for m in range(self.modes)], 2)


def truncated(mean: Tensor, sd: float, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Of N(mean, sd^2): the probability of [low, high], and the mean given that."""
    alpha, beta = (low - mean) / sd, (high - mean) / sd
    flip = alpha > 0  # the left tail is the accurate one
    volume = (ndtr(torch.where(flip, -alpha, beta)) - ndtr(torch.where(flip, -beta, alpha))).clamp(min=1e-300)
    density = (torch.exp(-0.5 * alpha.square()) - torch.exp(-0.5 * beta.square())) / math.sqrt(2 * math.pi)
    return volume, (mean + sd * density / volume).clamp(low, high)
