"""Sets of points on a line as functions on a grid: the set convolution, and a convolutional network for the grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metabook.checks import check_count, check_positive
from metabook.nn.layers import Linear

TAIL = 7.0  #: in length-scales: beyond it a Gaussian weight is below e^-24.5 = 3e-11
MOST = 20_000  #: grid points of a task


class SetConv(nn.Module):
    """Between sets of points on a line and functions on a grid, with Gaussian weights of a learned width.

    Gordon et al. (2020), arXiv:1910.13556, sec. 4 and alg. 1.

    length_scale: where the width starts, in the units of x.
    """

    def __init__(self, length_scale: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(check_positive("length_scale", length_scale))))

    def log_weights(self, a: Tensor, b: Tensor) -> Tensor:
        """Minus half the squared distance in length-scales: a [B, n], b [B, m] -> [B, n, m]."""
        # psi(a - b) = exp(-(a - b)^2 / 2 l^2)
        return -0.5 * ((a.unsqueeze(-1) - b.unsqueeze(-2)) * (-self.log_scale).exp()).square()

    def to_grid(self, grid: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Points x [B, S] with values y [B, S, Dy] at grid [B, n]: their density, then their local mean, [B, n, 1+Dy].

        Where the density vanishes, so does the mean: "no data" and "data around zero" differ in the density alone.
        """
        w = self.log_weights(grid, x).exp()  # [B, n, S]
        # h0(u) = sum_s psi(u - x_s), h1(u) = sum_s y_s psi(u - x_s) / h0(u)
        density = w.sum(-1, keepdim=True)
        return torch.cat([density, w @ y / (density + 1e-5)], -1)

    def from_grid(self, grid: Tensor, values: Tensor, x: Tensor) -> Tensor:
        """A function on the grid [B, n], values [B, n, D], at points x [B, Q]: a local mean, [B, Q, D]."""
        return self.log_weights(x, grid).softmax(-1) @ values

    def tail(self) -> float:
        """How far a weight reaches, in the units of x, where what is below 3e-11 does not count."""
        return TAIL * float(self.log_scale.detach().exp())


class GridNet(nn.Module):
    """Residual dilated convolutions over a grid, without padding: [B, n, in] -> [B, n - 2 reach, width].

    Each layer adds to every grid point a function of five points at distance 0, d and 2d on both sides. Nothing is
    padded: every output has seen true inputs only, so an output depends on what lies around it and not on where the
    grid ends. That is what makes it translation equivariant.

    inputs, width: channels. dilations: d of each layer, in grid points.
    """

    TAPS = 5

    def __init__(self, inputs: int, *, width: int = 64, dilations: tuple[int, ...] = (1, 2, 4, 8, 1)) -> None:
        super().__init__()
        self.dilations = tuple(check_count("dilations", d) for d in dilations)
        self.first = Linear(check_count("inputs", inputs), check_count("width", width))
        self.layers = nn.ModuleList(Linear(self.TAPS * width, width) for _ in dilations)
        self.reach = self.TAPS // 2 * sum(dilations)  #: grid points that an output sees on either side

    def forward(self, h: Tensor) -> Tensor:
        """[B, n, in] -> [B, n - 2 reach, width]."""
        h = self.first(h)
        for layer, d in zip(self.layers, self.dilations, strict=True):
            n = h.shape[1] - (self.TAPS - 1) * d
            a = torch.relu(h)
            taps = torch.cat([a[:, i * d : i * d + n] for i in range(self.TAPS)], -1)  # [B, n, 5 width]
            # h(u) <- h(u) + sum_i W_i relu(h(u + (i - 2) d)) + b
            h = h[:, 2 * d : 2 * d + n] + layer(taps)
        return h


def grid_around(x: Tensor, spacing: float, margin: int) -> Tensor:
    """A grid of whole multiples of ``spacing`` for each task, [B, n], from ``margin`` points below x [B, Q] to above.

    Raises ValueError for points so far apart that the grid would have more than 20,000 points.
    """
    low = (x.amin(1) / spacing).floor()
    most = float(((x.amax(1) / spacing).ceil() - low).max())
    if most + 2 * margin >= MOST:
        raise ValueError(f"query_x: a range of {most * spacing:g} given; {spacing:g} apart that is over {MOST} points")
    steps = torch.arange(-margin, int(most) + margin + 1, device=x.device, dtype=x.dtype)
    return (low.unsqueeze(1) + steps) * spacing
