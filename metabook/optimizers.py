"""The optimisers of the meta-update, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from metabook.checks import check_choice
from metabook.muon import Muon

MakeOptimizer = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
OPTIMIZERS = ("adam", "muon")


def make_optimizer(optimizer: str | MakeOptimizer, parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """The optimiser of that name with rate ``lr``, or what the function ``optimizer`` makes of the parameters.

    Raises ValueError for an unknown name.
    """
    if callable(optimizer):
        return optimizer(parameters)
    if check_choice("optimizer", optimizer, OPTIMIZERS) == "muon":
        return Muon(parameters, lr=lr)
    return torch.optim.Adam(parameters, lr=lr, fused=True)
