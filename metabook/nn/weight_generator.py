"""A network that writes the weights of another: from a code of the task, and of the architecture, to every weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.mapping import Phi
from metabook.nn.attention import RMSNorm, TransformerBlock
from metabook.nn.layers import Linear

LEAST = 0.1  #: the scale of what is written for a tensor that is 0 at first


class Chunks(nn.Module):
    """Tensors cut into K chunks, each with a learned embedding [K, D] that tells the trunk what it writes.

    like: name -> a tensor of the shape and scale wanted. edges: how the names of the tensors of each edge begin.
    """

    scale: Tensor
    follows: Tensor

    def __init__(self, like: Mapping[str, Tensor], width: int, chunk: int, edges: Sequence[str]) -> None:
        super().__init__()
        self.shapes = {name: t.shape for name, t in like.items()}
        self.sizes = [-(-t.numel() // chunk) for t in like.values()]  #: chunks of each tensor
        times = torch.tensor(self.sizes)
        std = torch.tensor([max(LEAST, float(t.square().mean().sqrt())) for t in like.values()])
        mine = torch.tensor([[float(name.startswith(edge)) for edge in edges or ("",)] for name in like])
        mine[mine.sum(1) == 0] = 1
        self.register_buffer("scale", std.repeat_interleave(times).unsqueeze(1))  # [K, 1]
        #: 1 where the last layer of a chunk follows an edge, [K, E]
        self.register_buffer("follows", mine.repeat_interleave(times, 0), persistent=False)
        self.embedding = nn.Parameter(torch.randn(sum(self.sizes), width))

    def join(self, written: Tensor) -> Phi:
        """[B, K, chunk] as name -> [B, *p]; what is over at the end of a tensor is dropped."""
        tensors = (self.scale * written).split(self.sizes, 1)
        pairs = zip(self.shapes.items(), tensors, strict=True)
        return {name: t.flatten(1)[:, : shape.numel()].reshape(-1, *shape) for (name, shape), t in pairs}


class WeightGenerator(nn.Module):
    """What is added to the weights theta of a network for a task, name -> [B, *p], from the task's code [B, C].

    Ha, Dai, Le (2017), arXiv:1609.09106, sec. 3.1: every tensor is cut into chunks, each chunk has a learned embedding,
    and one trunk, shared by all chunks, reads an embedding and the code. Here the embedding asks and the parts of the
    code answer, by attention: ``parts`` pieces of the code, and for each edge of an architecture one more, the mean of
    the learned codes of its operations. The embedding stays in what the trunk returns (a residual): without it, chunks
    begin almost alike, and a matrix of equal rows passes on one number.

    Each operation has a last layer of its own, so that another choice has other weights. A tensor of an edge mixes the
    last layers as that edge mixes operations; a tensor of no edge takes the mean over the edges.

    At first theta + g has the variance that theta had: g, after a norm, is written by a last layer of variance
    share * var(theta) / hidden, and theta is multiplied by sqrt(1 - share), in place. Where var(theta) is c / fan-in
    this is the hyperfan-in initialisation of Chang, Flokas, Lipson (2020), "Principled weight initialization for
    hypernetworks".

    net: the network; frozen parameters are not written. code: C. parts: pieces of the code, whose number divides C.
    only: how the names of the tensors begin that are written, all of them by default.
    head: how the names of the tensors begin that have a row for each class. Row n is written from the code of class n
        alone, by the same weights for every class; the code is then [B, N, C], and the rest is written from its mean.
        None for a task with one code.
    edges: how the names of the tensors of each edge begin; operations: O, choices of an edge.
    hidden: width D of the trunk. chunk: numbers in a chunk.

    Raises TypeError or ValueError for counts below 1, parts that do not divide the code, heads that do not divide
    hidden, a share outside 0..1, and a network with nothing to write.
    """

    def __init__(
        self,
        net: nn.Module,
        code: int,
        *,
        only: str = "",
        head: str | None = None,
        edges: Sequence[str] = (),
        operations: int = 1,
        parts: int = 1,
        hidden: int = 64,
        heads: int = 4,
        chunk: int = 64,
        share: float = 0.5,
    ) -> None:
        super().__init__()
        if check_count("code", code) % check_count("parts", parts):
            raise ValueError(f"parts: {parts} given; their number must divide the code, {code}")
        if not 0 <= share <= 1:
            raise ValueError(f"share: {share} given; 0 to 1 is allowed")
        theta = {n: p.detach() for n, p in net.named_parameters() if p.requires_grad and n.startswith(only)}
        if not theta:
            raise ValueError(f"net: no parameter called {only}... requires a gradient; there is nothing to write")
        rows = {} if head is None else {name: p[0] for name, p in theta.items() if name.startswith(head)}
        rest = {name: p for name, p in theta.items() if name not in rows}
        width, choices = check_count("hidden", hidden), check_count("operations", operations)
        self.parts, self.share = parts, share
        self.rest = Chunks(rest, width, check_count("chunk", chunk), edges) if rest else None
        self.rows = Chunks(rows, width, chunk, edges) if rows else None
        self.places = nn.Parameter(torch.randn(parts + len(edges), width))
        self.piece = Linear(code // parts, width)
        self.operations = nn.Parameter(torch.randn(len(edges), choices, width)) if edges else None
        self.block, self.norm = TransformerBlock(width, heads=heads), RMSNorm(width)
        self.last = nn.Parameter(torch.randn(choices, width, chunk) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(choices, chunk))
        with torch.no_grad():
            for p in theta.values():
                p.mul_(math.sqrt(1 - share))

    def forward(self, code: Tensor, choice: Tensor | None = None) -> Phi:
        """The written part, name -> [B, *p].

        code: [B, C], or [B, N, C] with a code for each class. choice: weights of operations [B, E, O], for a generator
        with edges; of an edge that is used they sum to 1, of one that is not to 0.
        """
        classes = code if code.dim() == 3 else code.unsqueeze(1)
        phi = {} if self.rest is None else self._write(self.rest, classes.mean(1), choice)
        if self.rows is not None:
            n = classes.shape[1]
            each = None if choice is None else choice.repeat_interleave(n, 0)
            written = self._write(self.rows, classes.flatten(0, 1), each)
            phi |= {name: row.unflatten(0, (-1, n)) for name, row in written.items()}
        return phi

    def silence(self) -> WeightGenerator:
        """Write nothing, whatever the code: the last layers become 0. Returns the generator itself."""
        nn.init.zeros_(self.last)
        nn.init.zeros_(self.bias)
        return self

    def _write(self, chunks: Chunks, code: Tensor, choice: Tensor | None) -> Phi:
        memory = self.piece(code.unflatten(1, (self.parts, -1)))  # [B, parts, D]
        if choice is None:
            choice = code.new_ones(len(code), 1, 1)
        elif self.operations is not None:
            memory = torch.cat([memory, torch.einsum("beo,eod->bed", choice, self.operations)], 1)
        asks = chunks.embedding.expand(len(code), -1, -1)  # [B, K, D]
        h = self.norm(self.block(asks, memory + self.places))
        # of every chunk: sqrt(share) * sum over o of a_o (W_o h + b_o), times the scale of its tensor
        mix = chunks.follows @ choice  # [B, K, O]
        mix = mix / mix.sum(2, keepdim=True).clamp(min=1)  # a mean where a chunk follows several edges
        written = torch.einsum("bko,bkd,odc->bkc", mix, h, self.last) + mix @ self.bias
        return chunks.join(math.sqrt(self.share) * written)


class NothingWritten(nn.Module):
    """Stands where a ``WeightGenerator`` could: nothing is written, so that every task starts from theta itself."""

    def forward(self, code: Tensor, choice: Tensor | None = None) -> Phi:
        """Nothing, whatever the code."""
        return {}


def add(theta: Phi, written: Phi) -> Phi:
    """theta + g, name -> [B, *p]; theta where nothing is written."""
    return {name: value + written[name] if name in written else value for name, value in theta.items()}
