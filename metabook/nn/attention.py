"""Attention from queries to a set of keys and values, in elementary operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.nn.layers import Linear


class MultiHead(nn.Module):
    """Multi-head attention: queries [B, Q, D], keys [B, S, D], values [B, S, D] -> [B, Q, D].

    Vaswani et al. (2017), arXiv:1706.03762, sec. 3.2. The order of the S pairs does not matter.

    width: D. heads: their number, which divides D.

    Raises ValueError for heads that do not divide the width.
    """

    def __init__(self, width: int, *, heads: int = 8) -> None:
        super().__init__()
        self.heads = check_count("heads", heads)
        if check_count("width", width) % heads:
            raise ValueError(f"heads: {heads} given; their number must divide the width, {width}")
        self.query, self.key = Linear(width, width, bias=False), Linear(width, width, bias=False)
        self.value, self.out = Linear(width, width, bias=False), Linear(width, width, bias=False)

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """How much each query takes of each key, [B, H, Q, S]; they sum to 1 over S."""
        q, k = self._split(self.query(queries)), self._split(self.key(keys))
        # softmax(Q K^T / sqrt(d_k))
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[B, Q, D]: the weighted mean of the values in every head, heads joined and mixed."""
        read = self.weights(queries, keys) @ self._split(self.value(values))  # [B, H, Q, D/H]
        return self.out(read.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, H, S, D/H]


class RMSNorm(nn.Module):
    """Each vector divided by its root mean square, then scaled: [..., D] -> [..., D] (Zhang and Sennrich 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(check_count("width", width)))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * self.weight


class TransformerBlock(nn.Module):
    """Read from a memory, then think: x [B, Q, D] and memory [B, S, D] -> [B, Q, D].

    Vaswani et al. (2017), sec. 3.1, with the norms before the two parts and the residuals around them.

    width: D. heads: their number, which divides D.
    """

    def __init__(self, width: int, *, heads: int = 4) -> None:
        super().__init__()
        self.attention = MultiHead(width, heads=heads)
        self.before, self.between = RMSNorm(width), RMSNorm(width)
        self.up, self.down = Linear(width, 2 * width), Linear(2 * width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Every row of x by itself: [B, Q, D]."""
        m = self.before(memory)
        x = x + self.attention(self.before(x), m, m)
        return x + self.down(torch.relu(self.up(self.between(x))))
