"""A network that writes an architecture: from a code of the task to a belief about every choice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.checks import check_count, check_positive
from metabook.nn.architecture import Architecture, by_node
from metabook.nn.cell import CellNet
from metabook.nn.layers import Linear


class NetworkGenerator(nn.Module):
    """From a task's code [B, C] to its belief about the choices of a cell: ``Architecture``, [B, E, O] and [B, E].

    Logits of a small network, and a softmax over the operations of an edge, another over the edges into a node. Of a
    task with a code for each class, [B, N, C], the mean is read.

    net: the cell network. code: C. temperature: divides the logits; the lower, the firmer the choice.
    shared: one belief for all tasks, whose logits are learned and read no code. It is equal at first.

    Raises TypeError or ValueError for counts below 1 and a temperature that is not above 0.
    """

    def __init__(
        self, net: CellNet, code: int, *, hidden: int = 64, temperature: float = 1.0, shared: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.temperature = net.operations.shape, check_positive("temperature", temperature)
        check_count("code", code)
        check_count("hidden", hidden)
        self.hidden = None if shared else Linear(code, hidden)
        self.logits = Linear(1 if shared else hidden, net.operations.numel() + net.inputs.numel())
        if shared:  # no choice is ahead at first
            nn.init.zeros_(self.logits.weight)
            nn.init.zeros_(self.logits.bias)
        self.shared = shared

    def forward(self, code: Tensor) -> Architecture:
        """code: [B, C] or [B, N, C]."""
        code = code if code.dim() == 3 else code.unsqueeze(1)
        h = code.new_ones(len(code), 1) if self.hidden is None else torch.relu(self.hidden(code.mean(1)))
        edges, operations = self.shape
        a, v = (self.logits(h) / self.temperature).split([edges * operations, edges], 1)
        # a_e = softmax over operations,  v_j = softmax over the edges into node j
        inputs = torch.cat([w.softmax(1) for w in by_node(v)], 1)
        return Architecture(a.unflatten(1, self.shape).softmax(2), inputs)

    def fix(self, operation: int) -> NetworkGenerator:
        """Choose one operation for every edge of every task, and the input for every node. Returns the generator."""
        nn.init.zeros_(self.logits.weight)
        edges, operations = self.shape
        with torch.no_grad():
            self.logits.bias.zero_()
            self.logits.bias[operation : edges * operations : operations] = 1e3
            for first in by_node(self.logits.bias[edges * operations :]):
                first[0] = 1e3
        return self
