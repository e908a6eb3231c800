"""Reading a memory of vectors by how like the keys are to what is asked for."""

from __future__ import annotations

from torch import Tensor, nn

from metabook.checks import check_weight
from metabook.nn.distances import cosine


class MemoryRead(nn.Module):
    """A mean of the memory's rows, weighted by a softmax of cosines; it has no weights of its own.

    Munkhdalai and Yu (2017), arXiv:1703.00837, alg. 1. scale: of the cosines, 1 in the paper.

    Raises TypeError or ValueError for a scale below 0.
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = check_weight("scale", scale)

    def attention(self, r: Tensor, keys: Tensor) -> Tensor:
        """How much each query reads of each slot, [B, Q, S]. r: [B, Q, D]; keys: [B, S, D]."""
        # a = softmax(cos(R, r))
        return (self.scale * cosine(r, keys)).softmax(-1)

    def forward(self, r: Tensor, keys: Tensor, memory: Tensor) -> Tensor:
        """What each query reads, [B, Q, P]. r: [B, Q, D]; keys: [B, S, D]; memory: [B, S, P]."""
        # W* = a^T M
        return self.attention(r, keys) @ memory
