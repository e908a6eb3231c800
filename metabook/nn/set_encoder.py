"""From a set of examples to a code: every example by itself, then a mean, which no order changes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.episode import Examples
from metabook.latent import Gaussian
from metabook.mapping import run
from metabook.nn.layers import Linear


def pairs(examples: Examples) -> Tensor:
    """Each example as one vector, its input and its target: x [B, S, *X], y [B, S, Dy] -> [B, S, X + Dy]."""
    return torch.cat([examples.x.flatten(2), examples.y], -1)


def beside(x: Tensor, code: Tensor) -> Tensor:
    """Inputs with a code beside each: x [B, Q, *X] and code [B, D] or [B, Q, D] -> [B, Q, X + D]."""
    x = x.flatten(2)
    code = code.unsqueeze(1) if code.dim() == 2 else code
    return torch.cat([x, code.expand(-1, x.shape[1], -1)], -1)


class LatentEncoder(nn.Module):
    """A set of examples as a belief about the latent variable of its task, ``Gaussian`` with mean and sd [B, Z].

    Garnelo et al. (2018), arXiv:1807.01622, sec. 2.2; the standard deviation is 0.1 + 0.9 sigmoid as in the code of
    Kim et al. (2019), so that neither a belief of no width nor one wider than 1 can be held.

    net: from input and target, [B, S, X + Dy], to ``features``, [B, S, D]. size: Z.
    """

    def __init__(self, net: nn.Module, features: int, size: int) -> None:
        super().__init__()
        self.net, self.size = net, check_count("size", size)
        self.hidden = Linear(check_count("features", features), features)
        self.head = Linear(features, 2 * size)

    def forward(self, examples: Examples) -> Gaussian:
        """q(z | examples)."""
        s = run(self.net, pairs(examples)).mean(1, keepdim=True)  # [B, 1, D]
        mean, raw = self.head(torch.relu(self.hidden(s))).squeeze(1).chunk(2, -1)
        return Gaussian(mean, 0.1 + 0.9 * torch.sigmoid(raw))
