"""Causal layers over a sequence: position t sees positions up to t, never later ones. Inputs [B, T, C].

Every layer puts its result *beside* its input. So the channels of an early layer are the first channels of the last
one's output, and that output alone tells every layer what it needs of the past. ``after`` lives on this: it continues a
sequence by one position, in Q ways at once, without running through the sequence again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.nn.layers import Linear


class Causal(nn.Module, ABC):
    """A causal layer.

    inputs, outputs: C and C', its numbers of channels; the first C channels of the output are the input.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence: x [B, T, C] -> [B, T, C']."""

    @abstractmethod
    def after(self, past: Tensor, x: Tensor) -> Tensor:
        """Each of x [B, Q, C] as the next position of the sequence, the others not seen: [B, Q, C'].

        past: the sequence so far, [B, S, at least C] with this layer's inputs first.
        """


def _affine(inputs: int, outputs: int, *, bias: bool = True) -> Linear:
    """A linear layer with the first weights of Glorot and Bengio (2010); with smaller ones learning starts later."""
    layer = Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    return layer


class DenseBlock(Causal):
    """Gated causal convolution of kernel 2 beside its input: [B, T, C] -> [B, T, C + filters].

    Mishra et al. (2018), arXiv:1707.03141, sec. 3.1. Before the first position there are zeros.
    dilation: how many positions back the kernel's other tap lies.
    """

    def __init__(self, inputs: int, filters: int, dilation: int) -> None:
        super().__init__(check_count("inputs", inputs), inputs + check_count("filters", filters))
        self.dilation = check_count("dilation", dilation)
        self.now = _affine(inputs, 2 * filters)
        self.before = _affine(inputs, 2 * filters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C + filters]."""
        return self._beside(x, self._late(x)[:, : x.shape[1]])

    def after(self, past: Tensor, x: Tensor) -> Tensor:
        """[B, Q, C] -> [B, Q, C + filters], see ``Causal``."""
        place = past.shape[1]
        return self._beside(x, self._late(past[..., : self.inputs])[:, place : place + 1])

    def _late(self, x: Tensor) -> Tensor:
        """x with ``dilation`` zeros before it: at place t stands what was there ``dilation`` positions ago."""
        return F.pad(x, (0, 0, self.dilation, 0))

    def _beside(self, x: Tensor, earlier: Tensor) -> Tensor:
        # xf, xg = CausalConv(inputs, R, D), CausalConv(inputs, R, D)
        xf, xg = (self.now(x) + self.before(earlier)).chunk(2, -1)
        # concat(inputs, tanh(xf) * sigmoid(xg))
        return torch.cat([x, torch.tanh(xf) * torch.sigmoid(xg)], -1)


class AttentionBlock(Causal):
    """One causal key-value look-up beside its input: [B, T, C] -> [B, T, C + values].

    Mishra et al. (2018), arXiv:1707.03141, sec. 3.1. A position looks at itself and at those before it.
    Differs: keys and queries start with the same weights, so that a look goes by similarity at first; from independent
        ones learning to compare takes longer. They are trained apart.
    keys, values: lengths of keys and queries, and of what is read.
    """

    def __init__(self, inputs: int, keys: int, values: int) -> None:
        super().__init__(check_count("inputs", inputs), inputs + check_count("values", values))
        self.key, self.query = _affine(inputs, check_count("keys", keys)), _affine(inputs, keys)
        self.key.load_state_dict(self.query.state_dict())
        self.value = _affine(inputs, values)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C + values]."""
        logits = self._logits(self.query(x), self.key(x))  # [B, T, T]
        later = torch.ones_like(logits, dtype=torch.bool).triu(1)
        # probs = CausallyMaskedSoftmax(query keys^T / sqrt(K)); read = probs values
        probs = logits.masked_fill(later, float("-inf")).softmax(-1)
        return torch.cat([x, probs @ self.value(x)], -1)

    def after(self, past: Tensor, x: Tensor) -> Tensor:
        """[B, Q, C] -> [B, Q, C + values], see ``Causal``."""
        probs = self.weights(past, x)
        own = probs[..., -1:] * self.value(x)
        return torch.cat([x, probs[..., :-1] @ self.value(past[..., : self.inputs]) + own], -1)

    def weights(self, past: Tensor, x: Tensor) -> Tensor:
        """How much each of x [B, Q, C] reads of the S positions before it and, last, of itself: [B, Q, S + 1]."""
        query = self.query(x)
        before = self._logits(query, self.key(past[..., : self.inputs]))
        own = self._logits(query.unsqueeze(-2), self.key(x).unsqueeze(-2)).squeeze(-1)
        return torch.cat([before, own], -1).softmax(-1)

    @staticmethod
    def _logits(query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.mT / keys.shape[-1] ** 0.5


class CausalChain(Causal):
    """Causal layers one after the other.

    Raises ValueError without a layer, or if a layer's outputs are not the next one's inputs.
    """

    def __init__(self, *layers: Causal) -> None:
        if not layers:
            raise ValueError("layers: none given; a chain needs at least one")
        super().__init__(layers[0].inputs, layers[-1].outputs)
        for i in range(1, len(layers)):
            if layers[i].inputs != layers[i - 1].outputs:
                raise ValueError(
                    f"layers: layer {i} with {layers[i].inputs} inputs given; the one before it has "
                    f"{layers[i - 1].outputs} outputs"
                )
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C']: the activations of every layer, the first one's inputs first."""
        for layer in self.layers:
            x = layer(x)
        return x

    def after(self, past: Tensor, x: Tensor) -> Tensor:
        """[B, Q, C] -> [B, Q, C'], see ``Causal``; past: what ``forward`` gave for the S positions before."""
        for layer in self.layers:
            x = layer.after(past, x)  # type: ignore[operator]
        return x


def tc_block(inputs: int, length: int, filters: int) -> CausalChain:
    """Dense blocks of dilation 1, 2, 4, ... until a position sees at least ``length`` positions, itself included.

    Mishra et al. (2018), arXiv:1707.03141, sec. 3.1. k = ceil(log2 length) blocks see exactly 2^k positions. (The
    printed pseudo-code begins with dilation 2; then a position sees those at an even distance only.)
    """
    count = (check_count("length", length, least=2) - 1).bit_length()  # ceil(log2 length)
    return CausalChain(*(DenseBlock(inputs + i * filters, filters, 2**i) for i in range(count)))
