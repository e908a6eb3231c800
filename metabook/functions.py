"""Five families of functions of one variable, shared by the sampler of their tasks and the exact posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FAMILIES = ("sinusoid", "linear", "quadratic", "absolute", "tanh")  #: in the order of Vuorio et al. (2019)
#: Of each family the ranges of |a|, c and b in y = a g(x - c) + b. The amplitude of a wave is above 0; of the others, a
#: has either sign.
RANGES = (
    ((0.1, 5.0), (0.0, math.pi), (0.0, 0.0)),
    ((0.0, 3.0), (0.0, 0.0), (-3.0, 3.0)),
    ((0.02, 0.15), (-3.0, 3.0), (-3.0, 3.0)),
    ((0.0, 3.0), (-3.0, 3.0), (-3.0, 3.0)),
    ((0.0, 3.0), (-3.0, 3.0), (-3.0, 3.0)),
)


def shapes(z: Tensor) -> Tensor:
    """g(z) of every family, in the order of ``FAMILIES``: z [..., 1] -> [..., 5]."""
    return torch.cat([z.sin(), z, z.square(), z.abs(), z.tanh()], -1)
