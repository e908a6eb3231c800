"""What a task looks like to gradient descent: its support set as a code of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL = 1e-6  #: added to a mean square before its logarithm, so that zero has one


class TaskEncoder(nn.Module):
    """A set of examples as log curvatures, and these as a code: x [B, S, *X] and gradients -> [B, C].

    The mean over the set of (v.x + b)^2 is, up to a factor, the curvature along (v, b) of a linear layer that reads x
    under squared error; the directions (v, b) are learned. The logarithm turns a change of units into a shift. Of the
    support gradients at the start enters the log mean square of every tensor. Labels enter through these alone, and
    calling the classes otherwise changes none. Images are averaged to 4 by 4 first.
    """

    def __init__(self, x_shape: tuple[int, ...], tensors: int, *, code: int = 16, directions: int = 32) -> None:
        super().__init__()
        size = 16 * x_shape[0] if len(x_shape) == 3 else math.prod(x_shape)
        self.directions = nn.Linear(size, directions)
        with torch.no_grad():  # the coordinate axes first, then random directions
            first = min(size, directions)
            self.directions.weight[:first] = torch.eye(first, size)
            self.directions.bias[:first] = 0
        self.hidden = nn.Linear(directions + tensors, 2 * directions)
        self.code = nn.Linear(2 * directions, code)

    def forward(self, x: Tensor, grads: Mapping[str, Tensor]) -> Tensor:
        """x: [B, S, *X]; grads: name -> [B, *p]. Returns the codes [B, C]."""
        small = F.adaptive_avg_pool2d(x.flatten(0, 1), 4).unflatten(0, x.shape[:2]) if x.dim() == 5 else x
        squares = [self.directions(small.flatten(2)).square().mean(1)]  # over the set: its order does not matter
        squares += [g.flatten(1).square().mean(1, keepdim=True) for g in grads.values()]
        return self.code(F.silu(self.hidden((torch.cat(squares, 1) + SMALL).log10())))
