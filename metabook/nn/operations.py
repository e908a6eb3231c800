"""What an edge of a cell can do: operations on features, and on images."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_choice, check_count
from metabook.nn.layers import Conv2d, Linear

STEEP = 10.0  #: the slope of ``step`` at 0

UNITS: dict[str, Callable[[Tensor], Tensor]] = {
    "sine": torch.sin,
    "square": torch.square,
    "relu": F.relu,
    "identity": lambda x: x,
    "step": lambda x: torch.tanh(STEEP * x),
    "none": torch.zeros_like,
}
IMAGE = ("conv3", "conv5", "pool", "identity", "dense", "none")
Sizes = tuple[int, int, int]  #: channels, height and width of an image


class Unit(nn.Module):
    """An elementwise function, one of ``UNITS``; it has no weights and costs no multiply-add."""

    cost = 0

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = check_choice("operation", name, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return UNITS[self.name](x)


class Pool(nn.Module):
    """The mean of each square of so many pixels a side, repeated (or cut off) to so many channels."""

    cost = 0

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C, H, W] -> [B, S, channels, H / stride, W / stride]."""
        small = F.avg_pool2d(x.flatten(0, 1), self.stride).unflatten(0, x.shape[:2]) if self.stride > 1 else x
        return small.repeat(1, 1, -(-self.channels // x.shape[2]), 1, 1)[:, :, : self.channels]


class Convolution(nn.Module):
    """Convolution of odd size, ReLU, then the largest of each square: [B, S, C, H, W] -> [B, S, channels, h, w]."""

    def __init__(self, size: Sizes, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv, self.stride = Conv2d(size[0], channels, kernel, padding=kernel // 2), stride
        self.cost = self.conv.weight.numel() * size[1] * size[2]

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, S, C, H, W]."""
        h = F.relu(self.conv(x))
        return F.max_pool2d(h.flatten(0, 1), self.stride).unflatten(0, h.shape[:2]) if self.stride > 1 else h


class Dense(nn.Module):
    """Every pixel mixed with every other, then ReLU: it does not care where a pixel is."""

    def __init__(self, size: Sizes, out: Sizes) -> None:
        super().__init__()
        self.out = out
        self.linear = Linear(size[0] * size[1] * size[2], out[0] * out[1] * out[2])
        self.cost = self.linear.weight.numel()

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C, H, W] -> [B, S, *out]."""
        return F.relu(self.linear(x.flatten(2))).unflatten(2, self.out)


def image_operation(name: str, size: Sizes, out: Sizes) -> nn.Module:
    """The operation ``name`` of ``IMAGE`` from images of ``size`` to images of ``out``, whose sides divide it.

    Raises ValueError for an unknown name and for sides that do not divide.
    """
    stride, rest = divmod(size[1], check_count("out", out[1]))
    if rest or size[2] != stride * out[2]:
        raise ValueError(f"out: {list(out[1:])} pixels given; they must divide {list(size[1:])} by one whole number")
    make: dict[str, Callable[[], nn.Module]] = {
        "conv3": lambda: Convolution(size, out[0], 3, stride),
        "conv5": lambda: Convolution(size, out[0], 5, stride),
        "pool": lambda: nn.Sequential(Pool(out[0], stride), Blur()),
        "identity": lambda: Pool(out[0], stride),
        "dense": lambda: Dense(size, out),
        "none": lambda: nn.Sequential(Pool(out[0], stride), Unit("none")),
    }
    return make[check_choice("operation", name, make)]()


class Blur(nn.Module):
    """The mean of each pixel and its eight neighbours, those outside counted as 0: same shape."""

    cost = 0

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C, H, W]."""
        return F.avg_pool2d(x.flatten(0, 1), 3, stride=1, padding=1).unflatten(0, x.shape[:2])
