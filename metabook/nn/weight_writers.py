"""Networks that write weights from gradients, one coordinate like the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_choice, check_count, check_positive
from metabook.preprocess import preprocess_gradient

SUMMARIES = ("lstm", "mean", "none")


class GradientMLP(nn.Module):
    """Reads a gradient and writes a weight, coordinate by coordinate, the same small network for all: [...] -> [...].

    Munkhdalai and Yu (2017), arXiv:1703.00837, sec. 3.1 and app. A; two hidden layers, as in the authors' code.
    hidden: units of each. p: of ``metabook.preprocess.preprocess_gradient``.

    Raises TypeError or ValueError for a count below 1, and a p that is not above 0.
    """

    def __init__(self, *, hidden: int = 20, p: float = 7) -> None:
        super().__init__()
        self.p = check_positive("p", p)
        self.first = nn.Linear(2, check_count("hidden", hidden))
        self.second = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, gradient: Tensor) -> Tensor:
        """A weight for each number of ``gradient``, in its shape."""
        h = F.relu(self.first(preprocess_gradient(gradient, self.p)))
        out: Tensor = self.output(F.relu(self.second(h))).squeeze(-1)
        return out


class GradientSummary(nn.Module):
    """Reads the gradients of several examples and writes one set of weights for the task: [B, S, P] -> [B, P].

    Munkhdalai and Yu (2017), arXiv:1703.00837, sec. 3.1 and app. A. All coordinates share one network.

    kind: "lstm" reads them one after the other; "mean" reads their mean with a ``GradientMLP``, which the paper found
        worse; "none" writes zeros.
    reads: T, the most that an LSTM reads. More examples are dealt out in turn to T groups, whose means are read.
    hidden: units. p: of ``metabook.preprocess.preprocess_gradient``.

    Raises TypeError or ValueError for an unknown kind, counts below 1, and a p that is not above 0.
    """

    def __init__(self, kind: str = "lstm", *, reads: int = 5, hidden: int = 20, p: float = 7) -> None:
        super().__init__()
        self.kind, self.reads = check_choice("summary", kind, SUMMARIES), check_count("reads", reads)
        self.p, self.hidden = check_positive("p", p), check_count("hidden", hidden)
        if kind == "lstm":
            self.cell, self.output = nn.LSTMCell(2, hidden), nn.Linear(hidden, 1)
        elif kind == "mean":
            self.mlp = GradientMLP(hidden=hidden, p=p)

    def forward(self, gradients: Tensor) -> Tensor:
        """Weights [B, P] from the gradients of S examples, [B, S, P]."""
        if self.kind == "none":
            return torch.zeros_like(gradients[:, 0])
        if self.kind == "mean":
            weights: Tensor = self.mlp(gradients.mean(1))
            return weights
        b, s, p = gradients.shape
        h = c = gradients.new_zeros(b * p, self.hidden)
        count = min(s, self.reads)
        for t in range(count):
            x = preprocess_gradient(gradients[:, t::count].mean(1), self.p)  # [B, P, 2]
            h, c = self.cell(x.flatten(0, 1), (h, c))
        out: Tensor = self.output(h).view(b, p)
        return out
