"""A classifier by prototypes with one class more: the fakes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.mapping import run


class Discriminator(nn.Module):
    """Logits of N real classes and of the class *fake*: prototypes [B, N, D], x [B, Q, *X] -> [B, Q, N + 1].

    Each logit is minus the squared distance of the embedding to a prototype. The last prototype, that of the fakes, is
    learned and the same for all tasks.

    net: the embedding, from inputs to ``features`` numbers.

    Raises TypeError or ValueError for features below 1.
    """

    def __init__(self, net: nn.Module, features: int) -> None:
        super().__init__()
        self.net = net
        self.fake = nn.Parameter(torch.zeros(check_count("features", features)))

    def forward(self, prototypes: Tensor, x: Tensor) -> Tensor:
        """prototypes: [B, N, D]; x: [B, Q, *X]. Returns [B, Q, N + 1], the fake class last."""
        z = run(self.net, x)
        c = torch.cat([prototypes, self.fake.expand(len(z), 1, -1)], 1)
        # -|z - c|^2 = 2 z.c - |c|^2 - |z|^2
        return 2 * z @ c.mT - c.square().sum(-1).unsqueeze(1) - z.square().sum(-1, keepdim=True)
