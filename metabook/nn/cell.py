"""A cell: nodes joined by edges, each edge a choice among operations, each node a choice among its edges."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from metabook.checks import check_choice, check_count
from metabook.nn.architecture import Architecture, by_node
from metabook.nn.layers import Linear
from metabook.nn.operations import IMAGE, UNITS, Unit, image_operation


class Edge(nn.Module):
    """The weighted sum of operations on the same input, all after one shared layer.

    first: what comes before every operation: a linear layer, or for images nothing, as their operations have weights.
    operations: name -> module from and to the same shapes.
    """

    def __init__(self, first: nn.Module, operations: dict[str, nn.Module]) -> None:
        super().__init__()
        self.first, self.operations = first, nn.ModuleDict(operations)
        #: multiply-adds of an example: of the first layer, and of each operation after it
        self.before = sum(p.numel() for n, p in first.named_parameters() if n == "weight")
        self.own = [_cost(op) for op in operations.values()]
        #: of a network with one of the operations alone; none needs nothing
        self.costs = [0 if n == "none" else self.before + c for n, c in zip(operations, self.own, strict=True)]

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """x: [B, S, *X]; weights: [O], or [B, O] of each task."""
        h = self.first(x)
        outputs = [op(h) for op in self.operations.values()]
        # sum over o of a_o op_o(W x)
        return sum((_of(weights[..., o], y) * y for o, y in enumerate(outputs)), torch.zeros_like(outputs[0]))


class CellNet(nn.Module):
    """A network with choices: one cell, then a linear head. [B, S, *X] -> [B, S, outputs].

    Liu, Simonyan, Yang (2019), arXiv:1806.09055, sec. 2.1-2.2. Node 0 is the input. Node j is the sum over the earlier
    nodes i of v_ij * sum over operations of a_ijo op_o(node i); the head reads the last node. With v one-hot over the
    edges into a node and a one-hot over operations this is a network without choices, which ``read_off`` returns.

    The weights a are the buffer ``operations`` [E, O], the weights v the buffer ``inputs`` [E]: equal at first, and a
    task's own, [B, E, O] and [B, E], are put in their place by ``metabook.mapping.run``. Edges are called "edges.ij".

    x_shape: [D], then an edge is a linear layer and one of ``UNITS``; or [C, H, W], then one of ``IMAGE``.
    nodes: besides the input. width: features of a node, or channels. side: pixels of a side of a node, a divisor of H.

    Raises TypeError or ValueError for counts below 1, no operation, unknown ones, and a side that does not divide.
    """

    takes_tasks = True
    operations: Tensor
    inputs: Tensor

    def __init__(
        self,
        x_shape: tuple[int, ...],
        outputs: int,
        *,
        operations: Sequence[str] | None = None,
        nodes: int = 1,
        width: int = 20,
        side: int = 7,
    ) -> None:
        super().__init__()
        image = len(x_shape) == 3
        if check_count("nodes", nodes) > 9 or check_count("width", width) < 1:
            raise ValueError(f"nodes: {nodes} given; at most 9 are allowed")
        names = tuple((IMAGE if image else UNITS) if operations is None else operations)
        if not names:
            raise ValueError("operations: none given; an edge needs at least one")
        for name in names:
            check_choice("operations", name, IMAGE if image else UNITS)
        shape = (width, side, side) if image else (width,)
        shapes = [tuple(x_shape)] + [shape] * nodes
        self.nodes, self.choices = nodes, names
        pairs = sorted(combinations(range(nodes + 1), 2), key=lambda ij: (ij[1], ij[0]))
        self.edges = nn.ModuleDict({f"{i}{j}": _edge(shapes[i], shapes[j], names) for i, j in pairs})
        self.head = Linear(torch.Size(shape).numel(), outputs)
        self.register_buffer("operations", torch.full((len(pairs), len(names)), 1 / len(names)))
        self.register_buffer("inputs", torch.cat([v / v.numel() for v in by_node(torch.ones(len(pairs)))]))

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, *X] -> [B, S, outputs]."""
        nodes = {0: x if x.dim() == 5 else x.flatten(2)}
        for e, (name, edge) in enumerate(self.edges.items()):
            i, j = int(name[0]), int(name[1])
            y = edge(nodes[i], self.operations[..., e, :])
            y = _of(self.inputs[..., e], y) * y
            nodes[j] = nodes[j] + y if j in nodes else y
        return self.head(nodes[self.nodes].flatten(2))

    def edge_names(self) -> list[str]:
        """How the names of the parameters of each edge begin."""
        return [f"edges.{name}." for name in self.edges]

    def every_choice(self) -> Architecture:
        """All architectures of a cell with a single edge, one for each operation: [O, 1, O] and [O, 1].

        Raises ValueError for more edges: their number grows too fast to list them.
        """
        if len(self.edges) != 1:
            raise ValueError(f"nodes: {self.nodes} given; all choices are listed for a single edge only")
        o = len(self.choices)
        return Architecture(torch.eye(o).to(self.inputs).unsqueeze(1), self.inputs.new_ones(o, 1))

    def read_off(self, choices: Architecture, task: int = 0) -> CellNet:
        """The network of one task without what it did not choose; what is left has the names it had.

        choices: one-hot, or the most probable are taken. The result is a chain from the input to the last node, with
        weights of its own, and its weights a and v are ones.
        """
        net, kept, node = copy.deepcopy(self), {}, self.nodes
        operation, inputs = choices.operations[task].argmax(1).tolist(), choices.inputs[task]
        while node > 0:
            into = [e for e, name in enumerate(self.edges) if int(name[1]) == node]
            e = max(into, key=lambda edge: float(inputs[edge]))
            name, o = list(self.edges)[e], self.choices[operation[e]]
            edge = net.edges[name]
            assert isinstance(edge, Edge)
            kept[name] = Edge(edge.first, {o: edge.operations[o]})
            node = int(name[0])
        net.edges = nn.ModuleDict(dict(reversed(kept.items())))
        net.operations, net.inputs = self.operations.new_ones(len(kept), 1), self.inputs.new_ones(len(kept))
        return net

    def cost(self, architecture: Architecture) -> Tensor:
        """Multiply-adds of a prediction, [B]: exact for one-hot choices, else a differentiable expectation.

        A node costs what the edges into it cost, by their weights, and only as far as a later node needs it.
        """
        costs = torch.tensor([edge.costs for edge in self.edges.values()]).to(architecture.inputs)
        each = (architecture.operations * costs).sum(2) * architecture.inputs  # [B, E]
        alive = architecture.inputs
        if "none" in self.choices:
            alive = alive * (1 - architecture.operations[..., self.choices.index("none")])
        return self._total(each, alive)

    def cost_of_mixture(self, architecture: Architecture) -> Tensor:
        """Multiply-adds of a prediction by the mixture itself, [B]: all that has a weight above 0 is carried out.

        The first layer of an edge is shared by its operations. For one-hot choices the same as ``cost``.
        """
        used = Architecture(*((part > 0).to(part.dtype) for part in architecture))
        own = torch.tensor([edge.own for edge in self.edges.values()]).to(used.inputs)
        before = torch.tensor([edge.before for edge in self.edges.values()]).to(used.inputs)
        something = [o for o, name in enumerate(self.choices) if name != "none"]
        alive = used.inputs * used.operations[..., something].sum(2).clamp(max=1)
        return self._total(alive * before + used.inputs * (used.operations * own).sum(2), alive)

    def _total(self, each: Tensor, alive: Tensor) -> Tensor:
        """The costs of the edges, [B, E], as far as they are needed, and the head. alive: how far an edge passes on."""
        one = torch.ones_like(each[:, 0])
        needed = {self.nodes: one}
        unneeded = dict.fromkeys(range(self.nodes), one)
        total = one * self.head.weight.numel()
        for e, name in reversed(list(enumerate(self.edges))):
            i, j = int(name[0]), int(name[1])
            needed.setdefault(j, 1 - unneeded[j] if j in unneeded else one)
            total = total + needed[j] * each[:, e]
            unneeded[i] = unneeded[i] * (1 - needed[j] * alive[:, e])
        return total


def _edge(x: tuple[int, ...], y: tuple[int, ...], names: Sequence[str]) -> Edge:
    if len(x) == 3:
        return Edge(nn.Identity(), {name: image_operation(name, x, y) for name in names})  # type: ignore[arg-type]
    return Edge(Linear(torch.Size(x).numel(), y[0]), {name: Unit(name) for name in names})


def _of(weight: Tensor, y: Tensor) -> Tensor:
    """A number, or one for each task [B], shaped to multiply y [B, ...]."""
    return weight.view(-1, *[1] * (y.dim() - 1))


def _cost(operation: nn.Module) -> int:
    return sum(int(getattr(m, "cost", 0)) for m in operation.modules())
