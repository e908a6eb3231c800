"""A support set, inputs with their targets, as one code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.likelihood import Classification, Likelihood
from metabook.mapping import run


class PairEncoder(nn.Module):
    """A set of pairs as a code: the mean of a network of each pair, then another network (Zaheer et al. 2017, thm. 2).

    The order of the pairs does not matter, and their number may change. Classes enter by a row each of a learned table.

    body: any module from inputs to features, [B, S, *X] -> [B, S, features]. likelihood: the kind of the targets.
    hidden: width of both networks. code: C, the length of the code.

    Raises TypeError or ValueError for counts below 1.
    """

    def __init__(
        self, body: nn.Module, features: int, likelihood: Likelihood, *, hidden: int = 64, code: int = 32
    ) -> None:
        super().__init__()
        check_count("features", features)
        classes = isinstance(likelihood, Classification)
        self.body = body
        self.labels = nn.Embedding(likelihood.size, likelihood.size) if classes else nn.Identity()
        width = check_count("hidden", hidden)
        self.pair = nn.Sequential(nn.Linear(features + likelihood.size, width), nn.ReLU(), nn.Linear(width, width))
        self.code = nn.Sequential(nn.ReLU(), nn.Linear(width, check_count("code", code)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The codes [B, C] of the sets x [B, S, *X], y [B, S] classes or [B, S, Dy]."""
        pairs = torch.cat([run(self.body, x), self.labels(y)], -1)
        # code = rho(1/S sum_s h(x_s, y_s))
        return self.code(self.pair(pairs).mean(1))
