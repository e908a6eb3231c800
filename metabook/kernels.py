"""Covariance functions of one-dimensional Gaussian processes, shared by the sampler and the exact posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metabook.checks import check_choice

KERNELS = ("rbf", "matern52", "periodic")
PERIOD = 1.0  #: of the periodic kernel, in the units of x


def covariance(kernel: str, x1: Tensor, x2: Tensor, length_scale: Tensor) -> Tensor:
    """Covariance of function values at x1 [..., n, 1] and x2 [..., m, 1]: [..., n, m], 1 on the diagonal.

    Rasmussen and Williams (2006), eq. 4.9 (rbf), 4.17 (matern52), 4.31 (periodic), with unit variance.
    length_scale: [...], one for each process, in the units of x (periodic: of 2 sin(pi (x1 - x2))).

    Raises ValueError for an unknown kernel.
    """
    check_choice("kernel", kernel, KERNELS)
    r = (x1 - x2.mT).abs()
    scale = length_scale[..., None, None]
    if kernel == "rbf":
        # k(r) = exp(-r^2 / 2 l^2)
        return torch.exp(-0.5 * (r / scale).square())
    if kernel == "matern52":
        # k(r) = (1 + sqrt(5) r / l + 5 r^2 / 3 l^2) exp(-sqrt(5) r / l)
        z = math.sqrt(5) * r / scale
        return (1 + z + z.square() / 3) * torch.exp(-z)
    # k(r) = exp(-2 sin^2(pi r / p) / l^2)
    return torch.exp(-2 * (torch.sin(math.pi * r / PERIOD) / scale).square())


def precise(t: Tensor) -> Tensor:
    """``t`` in float64, in which covariances of close points factorise; on the CPU if its device has no float64."""
    return t.cpu().double() if t.device.type == "mps" else t.double()
