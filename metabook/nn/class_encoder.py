"""A support set as one code for each class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.likelihood import Classification
from metabook.mapping import run


class ClassEncoder(nn.Module):
    """A code of each class from the mean of its examples, seen beside the mean of all: x, y -> [B, N, C].

    c_n = rho(W m_n + V m), with m_n the mean over class n of h(x), and m the mean of the m_n. Neither the order of the
    examples matters nor what the classes are called: with other labels the same codes stand in other rows.

    body: any module from inputs to features, [B, S, *X] -> [B, S, features]. hidden: width. code: C.

    Every class needs at least one example. Raises TypeError or ValueError for counts below 1.
    """

    def __init__(
        self, body: nn.Module, features: int, likelihood: Classification, *, hidden: int = 64, code: int = 32
    ) -> None:
        super().__init__()
        width = check_count("hidden", hidden)
        self.body, self.classes = body, likelihood.size
        self.each = nn.Sequential(nn.Linear(check_count("features", features), width), nn.ReLU())
        self.own, self.all = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.code = nn.Linear(width, check_count("code", code))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x: [B, S, *X], y: [B, S] classes. Returns [B, N, C]."""
        h = self.each(run(self.body, x))
        member = F.one_hot(y, self.classes).to(h.dtype)  # [B, S, N]
        means = member.mT @ h / member.sum(1).unsqueeze(-1)
        return self.code(torch.relu(self.own(means) + self.all(means.mean(1, keepdim=True))))
