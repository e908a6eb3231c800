"""The backbones of the few-shot literature, for inputs with a task dimension [B, S, *X]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_choice, check_count
from metabook.nn.layers import Conv2d, GroupNorm, Linear, MaxPool2d, TaskBatchNorm

NORMS = ("batch", "group", "none")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


class MLP(nn.Module):
    """Fully connected network with ReLU; inputs are flattened. [B, S, *X] -> [B, S, out].

    ``MLP(1, 1)`` is the sinusoid network of MAML (two hidden layers of 40).

    activation: relu, sigmoid or tanh. bias: whether layers have one.
    """

    takes_tasks = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: Sequence[int] = (40, 40),
        activation: str = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        widths = [check_count("hidden", size) for size in hidden]
        sizes = [check_count("inputs", inputs), *widths, check_count("outputs", outputs)]
        self.layers = nn.ModuleList(Linear(a, b, bias=bias) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, *X] -> [B, S, out]."""
        x = x.flatten(2)
        for layer in self.layers[:-1]:
            x = ACTIVATIONS[self.activation](layer(x))
        return self.layers[-1](x)


def after_convolution(width: int, norm: str, *, pool: bool = True) -> list[nn.Module]:
    """What follows the convolution in a block: the norm (one of ``NORMS``), max-pooling if ``pool``, ReLU."""
    layers: list[nn.Module] = []
    if norm == "batch":
        layers.append(TaskBatchNorm(width))
    elif norm == "group":
        layers.append(GroupNorm(8 if width % 8 == 0 else 1, width))
    if pool:
        layers.append(MaxPool2d())
    return [*layers, nn.ReLU()]  # ReLU and pooling commute; so it is a quarter of the work


class Conv4(nn.Module):
    """Four blocks of convolution 3x3, norm, ReLU, max-pool, then a linear head if ``outputs`` is given.

    Vinyals et al. (2016) sec. 4.1. [B, S, C, H, W] -> [B, S, outputs], or the flat features [B, S, features].

    norm: "batch" (each task's own batch statistics: transductive, as published), "group" (inductive) or "none".
    """

    takes_tasks = True

    def __init__(
        self,
        channels: int,
        outputs: int | None = None,
        *,
        width: int = 64,
        size: int = 28,
        norm: str = "batch",
        blocks: int = 4,
    ) -> None:
        super().__init__()
        check_choice("norm", norm, NORMS)
        check_count("channels", channels)
        check_count("width", width)
        if outputs is not None:
            check_count("outputs", outputs)
        if check_count("size", size) < 2**blocks:
            raise ValueError(f"size: {size} pixels given; {blocks} blocks that halve it need at least {2**blocks}")
        layers: list[nn.Module] = []
        for i in range(check_count("blocks", blocks)):
            layers.append(Conv2d(channels if i == 0 else width, width, 3, padding=1))
            layers += after_convolution(width, norm)
        self.features = nn.Sequential(*layers)
        self.size_out = width * (size // 2**blocks) ** 2  #: number of features
        self.head = Linear(self.size_out, outputs) if outputs is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C, H, W] -> [B, S, outputs]."""
        return self.head(self.features(x).flatten(2))


class Pixels(nn.Module):
    """No network at all: the flat input, [B, S, *X] -> [B, S, D]."""

    takes_tasks = True

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, *X] -> [B, S, D]."""
        return torch.flatten(x, 2)


class SideBySide(nn.Module):
    """The features of several bodies, one after the other: [B, S, *X] -> [B, S, F_1 + F_2 + ...].

    bodies: any modules from the same inputs to features; what a task's images are like decides which of them help.

    Raises ValueError for no body.
    """

    takes_tasks = True

    def __init__(self, *bodies: nn.Module) -> None:
        super().__init__()
        if not bodies:
            raise ValueError("bodies: none given; at least one is needed")
        self.bodies = nn.ModuleList(bodies)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, *X] -> [B, S, F]."""
        return torch.cat([body(x) for body in self.bodies], -1)
