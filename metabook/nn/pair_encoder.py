"""A support set, inputs with their targets, as one code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.likelihood import Classification, Likelihood
from metabook.mapping import run
from metabook.nn.attention import TransformerBlock

DESCRIPTORS = 3


def describe(x: Tensor, y: Tensor) -> Tensor:
    """What is known of tasks before their examples are read: x [B, S, *X], y -> [B, 3].

    log2 of the numbers of an input that are in use, not 0 in all examples; log2 of S; and the kind of task: 1 for
    classes, 0 for real targets.
    """
    size = (x != 0).any(1).flatten(1).sum(1).clamp(min=1).to(x.dtype).log2()  # [B]
    values = x.new_tensor((math.log2(x.shape[1]), float(not y.is_floating_point())))
    return torch.cat([size.unsqueeze(1), values.expand(len(x), -1)], 1)


class PairEncoder(nn.Module):
    """A set of pairs as a code: the mean of a network of each pair, then another network (Zaheer et al. 2017, thm. 2).

    The order of the pairs does not matter, and their number may change. Classes enter by a row each of a learned table.

    body: any module from inputs to features, [B, S, *X] -> [B, S, features]. likelihood: the kind of the targets.
    hidden: width of both networks. code: C, the length of the code. layers: hidden layers of the network of a pair;
        the second has one fewer, and reads the mean through a ReLU.
    blocks: before the mean, every pair reads all others so many times, by attention (``TransformerBlock``).
    described: let the second network see ``describe`` beside the mean.

    Raises TypeError or ValueError for counts below 1.
    """

    def __init__(
        self,
        body: nn.Module,
        features: int,
        likelihood: Likelihood,
        *,
        hidden: int = 64,
        code: int = 32,
        layers: int = 1,
        blocks: int = 0,
        described: bool = False,
    ) -> None:
        super().__init__()
        check_count("features", features)
        classes = isinstance(likelihood, Classification)
        self.body, self.described = body, described
        self.labels = nn.Embedding(likelihood.size, likelihood.size) if classes else nn.Identity()
        width, more = check_count("hidden", hidden), check_count("layers", layers) - 1
        self.pair = nn.Sequential(
            nn.Linear(features + likelihood.size, width), *_again(width, more), nn.ReLU(), nn.Linear(width, width)
        )
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(check_count("blocks", blocks, least=0)))
        self.about = nn.Linear(DESCRIPTORS, width, bias=False) if described else None
        self.code = nn.Sequential(*_again(width, more), nn.ReLU(), nn.Linear(width, check_count("code", code)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The codes [B, C] of the sets x [B, S, *X], y [B, S] classes or [B, S, Dy]."""
        pairs = torch.cat([run(self.body, x), self.labels(y)], -1)
        h = self.pair(pairs)
        for block in self.blocks:
            h = block(h, h)
        mean = h.mean(1)
        if self.about is not None:
            mean = mean + self.about(describe(x, y))
        # code = rho(1/S sum_s h(x_s, y_s))
        return self.code(mean)


def _again(width: int, layers: int) -> list[nn.Module]:
    return [module for _ in range(layers) for module in (nn.ReLU(), nn.Linear(width, width))]
