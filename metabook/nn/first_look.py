"""What a cell makes of its input: eyes for a network that writes another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.nn.cell import CellNet, Edge


class FirstLook(nn.Module):
    """What every operation on the input of a cell makes of it, flat and side by side: [B, S, *X] -> [B, S, F].

    net: the cell. Its operations are shared, not copied: what trains them there trains them here.
    """

    takes_tasks = True

    def __init__(self, net: CellNet) -> None:
        super().__init__()
        edge = net.edges["01"]
        assert isinstance(edge, Edge)
        self.edge = edge

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, S, *X]."""
        h = self.edge.first(x)
        return torch.cat([op(h).flatten(2) for op in self.edge.operations.values()], 2)
