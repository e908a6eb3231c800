"""Layers that know the task dimension: each accepts ordinary weights or one set of weights per task.

Input x: [B, S, ...]. A weight of the usual shape is shared by all B tasks; a weight with a leading B is task b's own.
So ``torch.func.functional_call(net, phi, x)`` runs B different networks at once when every tensor of phi is [B, *p],
with no vmap, and ordinary autograd differentiates it exactly, as often as MAML needs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.nn.batch_norm import batch_norm


class Linear(nn.Linear):
    """y = x W^T + b with W [out, in] or [B, out, in]; x [B, S, in] -> [B, S, out]."""

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, S, in] -> [B, S, out]."""
        if self.weight.dim() == 2:
            if self.bias is None or self.bias.dim() == 1:
                return F.linear(x, self.weight, self.bias)
            return F.linear(x, self.weight) + self.bias.unsqueeze(-2)  # only the bias is a task's own
        if self.bias is None:
            return x @ self.weight.mT
        if torch.compiler.is_compiling():  # the compiler fuses products with one input or output, but not baddbmm
            return x @ self.weight.mT + self.bias.unsqueeze(-2)
        return torch.baddbmm(self.bias.unsqueeze(-2), x, self.weight.mT)


def _merge(x: Tensor) -> Tensor:
    """[B, S, C, H, W] -> [S, B*C, H, W]: tasks become groups of channels. Free when x came from _split."""
    b, s, c, h, w = x.shape
    return x.transpose(0, 1).reshape(s, b * c, h, w)


def _split(x: Tensor, b: int) -> Tensor:
    """[S, B*C, H, W] -> [B, S, C, H, W], a view."""
    s, bc, h, w = x.shape
    return x.view(s, b, bc // b, h, w).transpose(0, 1)


def in_fast_order(x: Tensor) -> Tensor:
    """The same images [n, C, H, W], on a CPU with channels last in memory: pooling is ten times faster that way."""
    if x.device.type != "cpu":
        return x
    if x.shape[1] == 1:  # both orders are one; only the strides tell the kernels which is meant
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


class Conv2d(nn.Conv2d):
    """Convolution with kernels [O, I, k, k] or [B, O, I, k, k]; x [B, S, I, H, W] -> [B, S, O, H', W']."""

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, S, I, H, W] -> [B, S, O, H', W']. Raises ValueError for a padding other than zeros."""
        if self.padding_mode != "zeros":
            raise ValueError(f"padding_mode: {self.padding_mode!r} given; metabook.nn.Conv2d allows 'zeros' only")
        b, s = x.shape[:2]
        if self.weight.dim() == 4:
            if self.bias is None or self.bias.dim() == 1:
                return self._conv(x.flatten(0, 1), self.weight, self.bias, 1).unflatten(0, (b, s))
            y = self._conv(x.flatten(0, 1), self.weight, None, 1).unflatten(0, (b, s))
            return y + self.bias[:, None, :, None, None]  # only the bias is a task's own
        bias = self.bias
        if bias is not None:
            bias = bias.flatten() if bias.dim() == 2 else bias.repeat(b)
        return _split(self._conv(_merge(x), self.weight.flatten(0, 1), bias, b), b)

    def _conv(self, images: Tensor, weight: Tensor, bias: Tensor | None, tasks: int) -> Tensor:
        images, groups = in_fast_order(images), tasks * self.groups
        return F.conv2d(images, weight, bias, self.stride, self.padding, self.dilation, groups)


class TaskBatchNorm(nn.Module):
    """Batch normalisation with each task's own statistics, exact to second order.

    Mean and variance are taken over the examples and pixels of one task, never across tasks, and no running average is
    kept: nothing leaks between tasks and nothing is written. Second derivatives are exact in plain autograd, under
    ``torch.func`` and compiled (``metabook.nn.batch_norm``); those of ``nn.BatchNorm2d`` are not under ``vmap(grad)``.
    Predictions of a network that uses it depend on the other queries of the task: it is transductive, as in the
    published MAML numbers.

    x: [B, S, C, H, W] or [B, S, C]; weight and bias: [C], or [B, C] for a task's own.
    """

    uses_batch_statistics = True

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x. Raises ValueError when a task has a single value per channel."""
        image = x if x.dim() == 5 else x[..., None, None]
        if image.shape[1] * image.shape[3] * image.shape[4] < 2:
            raise ValueError(
                f"x: shape {list(x.shape)} has one value per channel and task; TaskBatchNorm needs at least 2, "
                "more examples or a norm without batch statistics (norm='group')"
            )
        b = image.shape[0]
        weight, bias = (p.flatten() if p.dim() == 2 else p.repeat(b) for p in (self.weight, self.bias))
        y = _split(batch_norm(_merge(image), weight, bias, self.eps), b)
        return y.view(x.shape) if x.dim() == 5 else y[..., 0, 0]


class GroupNorm(nn.Module):
    """Group normalisation of each example by itself: inductive, no batch statistics (Wu and He 2018).

    x: [B, S, C, H, W]; weight and bias: [C], or [B, C] for a task's own.
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"groups: {groups} given; it must divide the {channels} channels")
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        z = F.group_norm(x.flatten(0, 1), self.groups, eps=self.eps).view(x.shape)
        return z * self.weight[..., None, :, None, None] + self.bias[..., None, :, None, None]


class MaxPool2d(nn.Module):
    """Max-pooling of images with a task dimension: [B, S, C, H, W] -> [B, S, C, H // size, W // size]."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.size = size
        self.places_kept = 1 / size**2  #: the share of an image that the layers after it see (``mapping.channels``)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, S, C, H, W] -> [B, S, C, H // size, W // size]."""
        return _split(F.max_pool2d(_merge(x), self.size), x.shape[0])
