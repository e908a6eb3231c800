"""Gradients and losses as inputs of a network: their size on a logarithmic scale, and their sign."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metabook.checks import check_positive


def preprocess_gradient(g: Tensor, p: float = 10) -> Tensor:
    """Gradients of any size as two numbers in the range of a network's inputs: [...] -> [..., 2].

    Andrychowicz et al. (2016), arXiv:1606.04474, app. A. Gradients of different coordinates differ by orders of
    magnitude; a network sees the logarithm of the size and the sign. Below e^-p, where the logarithm would run away,
    it sees -1 and the gradient itself, enlarged. Both parts are continuous at ``|g| = e^-p``, and the result is finite,
    with a finite derivative, at g = 0.

    p: how small a gradient counts as small; larger p tells smaller gradients apart.

    Raises ValueError or TypeError unless p is a finite number above 0.
    """
    check_positive("p", p)
    size = g.abs()
    # (log|g| / p, sgn g) where |g| >= e^-p, (-1, e^p g) elsewhere; the clamps are both cases in one
    return torch.stack([size.clamp_min(math.exp(-p)).log() / p, (g * math.exp(p)).clamp(-1, 1)], -1)
