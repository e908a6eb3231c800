"""The relation network of LEO: what an example is, seen beside every other example of its task."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.nn.layers import Linear
from metabook.nn.networks import MLP


class PairMeans(nn.Module):
    """The mean over all partners j of a network of the pair: r_i = 1/S sum_j g([e_i; e_j]). [B, S, in] -> [B, S, out].

    Rusu et al. (2019), sec. 2.3.2. j runs over all S examples, i itself too. g is an MLP with ReLU and no biases, as in
    the authors' code. Its first layer is linear in the concatenation, W [e_i; e_j] = W_1 e_i + W_2 e_j, so this layer
    runs 2 S times, not S^2 times.

    hidden: widths of the hidden layers of g, at least one.

    Raises TypeError or ValueError for counts below 1 and for no hidden layer.
    """

    takes_tasks = True

    def __init__(self, inputs: int, outputs: int, *, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        check_count("inputs", inputs)
        if not hidden:
            raise ValueError(f"hidden: {hidden!r} given; the network of a pair needs at least one hidden layer")
        first = check_count("hidden", hidden[0])
        self.of_example = Linear(inputs, first, bias=False)
        self.of_partner = Linear(inputs, first, bias=False)
        self.rest = MLP(first, outputs, hidden=hidden[1:], bias=False)

    def forward(self, e: Tensor) -> Tensor:
        """e: [B, S, in]. Returns [B, S, out]."""
        # W [e_i; e_j] = W_1 e_i + W_2 e_j
        pairs = self.of_example(e).unsqueeze(2) + self.of_partner(e).unsqueeze(1)  # [B, S, S, first]
        outputs: Tensor = self.rest(F.relu(pairs).flatten(1, 2))  # [B, S * S, out]
        # r_i = 1/S sum_j g([e_i; e_j])
        return outputs.unflatten(1, pairs.shape[1:3]).mean(2)
