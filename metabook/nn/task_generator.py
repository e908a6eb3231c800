"""A generator of examples for a task: reads the support inputs and noise, writes inputs of the same shape."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.nn.layers import Conv2d, Linear
from metabook.nn.networks import MLP

SMALL = 7  #: images are averaged to so many pixels a side before they are encoded


class TaskGenerator(nn.Module):
    """Fake inputs of a task from its support inputs and noise: [B, S, *X], [B, F, L] -> [B, F, *X].

    Zhang et al. (2018), sec. 3: an encoder of single examples, the mean over the support set as the code of the task,
    and a network from code and noise to an input. The order of the support set does not matter. Images have values in
    [0, 1], made by two convolutions that each follow a doubling of the size.

    x_shape: of one input, [D] or [C, H, W]. noise: L. width: of the layers.

    Raises TypeError or ValueError for counts below 1, or inputs of another shape.
    """

    def __init__(self, x_shape: tuple[int, ...], *, noise: int = 16, width: int = 64) -> None:
        super().__init__()
        if len(x_shape) not in (1, 3):
            raise ValueError(f"x_shape: {list(x_shape)} given; inputs [D] or images [C, H, W] can be generated")
        check_count("noise", noise)
        self.x_shape = tuple(x_shape)
        self.image = len(x_shape) == 3
        self.encoder = MLP(x_shape[0] * (SMALL**2 if self.image else 1), check_count("width", width), hidden=(width,))
        if not self.image:
            self.decoder: nn.Module = MLP(width + noise, x_shape[0], hidden=(width, width))
            return
        self.maps = (max(1, width // 4), math.ceil(x_shape[1] / 4), math.ceil(x_shape[2] / 4))
        self.decoder = Linear(width + noise, math.prod(self.maps))
        self.first = Conv2d(self.maps[0], self.maps[0], 3, padding=1)
        self.second = Conv2d(self.maps[0], x_shape[0], 3, padding=1)

    def forward(self, support_x: Tensor, z: Tensor) -> Tensor:
        """support_x: [B, S, *X]; z: [B, F, L] noise. Returns [B, F, *X]."""
        small = support_x
        if self.image:
            small = F.adaptive_avg_pool2d(small.flatten(0, 1), SMALL).unflatten(0, small.shape[:2])
        # h_T = 1/S sum over the support set of e(x)
        h = self.encoder(small).mean(1, keepdim=True).expand(-1, z.shape[1], -1)
        y = self.decoder(torch.cat([h, z], -1))
        if not self.image:
            return y
        y = self.first(_doubled(F.relu(y).unflatten(2, self.maps)))
        y = self.second(_doubled(F.relu(y)))
        return torch.sigmoid(y[..., : self.x_shape[1], : self.x_shape[2]])


def _doubled(x: Tensor) -> Tensor:
    """Every pixel as a square of four, [B, F, C, H, W] -> [B, F, C, 2H, 2W]."""
    return x.repeat_interleave(2, -1).repeat_interleave(2, -2)
