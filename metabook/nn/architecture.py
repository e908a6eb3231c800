"""An architecture as numbers: for each edge of a cell a choice among operations, for each node one among its edges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Architecture(NamedTuple):
    """A belief about the choices of each task, or, one-hot, the choices themselves.

    Edges stand in the order of the nodes they enter: node 1 has 1 edge, node 2 has 2, node j has j.
    """

    operations: Tensor  #: [B, E, O]; sums to 1 over O
    inputs: Tensor  #: [B, E]; sums to 1 over the edges that enter a node

    def discrete(self) -> Architecture:
        """The most probable choices, one-hot; they pass no gradient."""
        operations = torch.zeros_like(self.operations).scatter(2, self.operations.argmax(2, keepdim=True), 1.0)
        best = [torch.zeros_like(p).scatter(1, p.argmax(1, keepdim=True), 1.0) for p in by_node(self.inputs)]
        return Architecture(operations, torch.cat(best, 1))

    def straight_through(self) -> Architecture:
        """The values of ``discrete``, with the gradient of the belief (Bengio, Leonard, Courville 2013)."""
        # (p - stopgrad(p)) + one-hot: exactly one-hot, for the difference is exactly 0
        hard = self.discrete()
        return Architecture(*((p - p.detach()) + h for p, h in zip(self, hard, strict=True)))

    def explored(self, epsilon: float) -> Architecture:
        """With probability epsilon, choice by choice, any: (1 - epsilon) p + epsilon / number."""
        inputs = [(1 - epsilon) * p + epsilon / p.shape[1] for p in by_node(self.inputs)]
        return Architecture((1 - epsilon) * self.operations + epsilon / self.operations.shape[2], torch.cat(inputs, 1))

    def draw(self, n: int, *, alike: bool = False) -> Architecture:
        """n draws of one-hot choices for each task, [B n, ...]; the draws of a task follow each other.

        alike: all tasks get what is drawn for the first, for a belief that all have in common.
        """
        if alike:
            first = Architecture(*(p[:1] for p in self)).draw(n)
            return Architecture(*(c.repeat(len(self.inputs), *[1] * (c.dim() - 1)) for c in first))
        operations = _draw(self.operations.repeat_interleave(n, 0))
        inputs = [_draw(p.repeat_interleave(n, 0)) for p in by_node(self.inputs)]
        return Architecture(operations, torch.cat(inputs, 1))

    def log_prob(self, choices: Architecture) -> Tensor:
        """Log-probability of one-hot choices [B n, ...] under this belief, [B, n]."""
        b = len(self.inputs)
        each = zip(self, choices, strict=True)
        return sum(
            ((c.unflatten(0, (b, -1)) * p.clamp(min=1e-12).log().unsqueeze(1)).flatten(2).sum(2) for p, c in each),
            torch.zeros((), dtype=self.inputs.dtype, device=self.inputs.device),
        )

    def entropy(self) -> Tensor:
        """Of all choices together, in nats, [B]."""
        return -sum(((p * p.clamp(min=1e-12).log()).flatten(1).sum(1) for p in self), self.inputs.new_zeros(()))


def by_node(inputs: Tensor) -> tuple[Tensor, ...]:
    """What belongs to the edges [..., E], for each node they enter: [..., 1], [..., 2], ..."""
    nodes, edges = 0, inputs.shape[-1]
    while nodes * (nodes + 1) // 2 < edges:
        nodes += 1
    return inputs.split(list(range(1, nodes + 1)), -1)


def _draw(p: Tensor) -> Tensor:
    """One-hot draws from p [..., O], same shape."""
    place = torch.multinomial(p.detach().flatten(0, -2), 1).view(*p.shape[:-1], 1)
    return torch.zeros_like(p).scatter(-1, place, 1.0)
