"""What an edge of a cell can do: operations on features, and on images."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_choice, check_count
from metabook.nn.layers import Conv2d, Linear, in_fast_order

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


class Convolutions(nn.Module):
    """Convolution of odd size, norm, ReLU, the largest of each square: once for each prime factor of the stride.

    [B, S, C, H, W] -> [B, S, channels, H / stride, W / stride]; a stride of 4 makes two layers of 2, one of 1 a layer.
    """

    def __init__(self, size: Sizes, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        (inputs, high, wide), self.cost = size, 0
        self.strides = _prime_factors(stride) or [1]
        self.convs = nn.ModuleList()
        for step in self.strides:
            self.convs.append(Conv2d(inputs, channels, kernel, padding=kernel // 2))
            self.cost += channels * inputs * kernel**2 * high * wide
            inputs, high, wide = channels, high // step, wide // step

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, S, C, H, W]."""
        for conv, step in zip(self.convs, self.strides, strict=True):
            h = in_fast_order(_standard(conv(x)).flatten(0, 1))
            x = F.relu(F.max_pool2d(h, step)).unflatten(0, x.shape[:2])  # of the largest, the same as the largest ReLU
        return x


class Dense(nn.Module):
    """Every pixel mixed with every other, norm, ReLU: it does not care where a pixel is."""

    def __init__(self, size: Sizes, out: Sizes) -> None:
        super().__init__()
        self.out = out
        self.linear = Linear(size[0] * size[1] * size[2], out[0] * out[1] * out[2])
        self.cost = self.linear.weight.numel()

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C, H, W] -> [B, S, *out]."""
        return F.relu(_standard(self.linear(x.flatten(2)).unflatten(2, self.out)))


def image_operation(name: str, size: Sizes, out: Sizes) -> nn.Module:
    """The operation ``name`` of ``IMAGE`` from images of ``size`` to images of ``out``, whose sides divide it.

    Raises ValueError for an unknown name and for sides that do not divide.
    """
    stride, rest = divmod(size[1], check_count("out", out[1]))
    if rest or size[2] != stride * out[2]:
        raise ValueError(f"out: {list(out[1:])} pixels given; they must divide {list(size[1:])} by one whole number")
    make: dict[str, Callable[[], nn.Module]] = {
        "conv3": lambda: Convolutions(size, out[0], 3, stride),
        "conv5": lambda: Convolutions(size, out[0], 5, stride),
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


def _standard(x: Tensor) -> Tensor:
    """Each image [B, S, C, H, W] with mean 0 and variance 1 over all its numbers: a layer norm without weights."""
    return F.group_norm(x.flatten(0, 1), 1).unflatten(0, x.shape[:2])


def _prime_factors(n: int) -> list[int]:
    """Those of n, the smallest first; of 1 none."""
    least = next((p for p in range(2, n + 1) if n % p == 0), None)
    return [least, *_prime_factors(n // least)] if least else []
