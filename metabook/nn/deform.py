"""Networks for pairs of drawings: one that bends a drawing as a code says, one that looks at two drawings at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.nn.layers import Linear

SMALL = 14  #: drawings are averaged to so many pixels a side before the network that bends looks at them
INK = 8.0  #: a pixel of value 0 starts as sigmoid(-4) = 0.02, one of value 1 as 0.98


class Deform(nn.Module):
    """A drawing, bent and inked anew as a code says: [B, S, 1, H, W], [B, S, L] -> [B, S, 1, H, W] in (0, 1).

    A network of the drawing and the code puts out a smooth field of shifts, drawn on a coarse grid, and the shades of
    two small convolutions. They follow the spatial transformer of Jaderberg et al. (2015), arXiv:1506.02025: a
    generator need not learn to draw, only how drawings of one class differ from each other.

    code: L. width: of the hidden layer. knots: of the grid, a side. shades: channels between the two convolutions.

    Raises TypeError or ValueError for counts below 1 (knots: 2).
    """

    def __init__(self, code: int, *, width: int = 128, knots: int = 5, shades: int = 8) -> None:
        super().__init__()
        self.code, self.knots = check_count("code", code), check_count("knots", knots, least=2)
        self.look = Linear(SMALL**2, check_count("width", width))
        self.hidden = Linear(width + code, width)
        self.field = Linear(width, 2 * knots**2)
        self.shade = Linear(width, check_count("shades", shades))
        self.first = nn.Conv2d(1, shades, 5, padding=2)
        self.second = nn.Conv2d(shades, 1, 3, padding=1)
        with torch.no_grad():  # starts near the drawing itself
            self.field.weight.mul_(0.1)
            self.field.bias.zero_()
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """x: [B, S, 1, H, W] in [0, 1]; z: [B, S, L]. Returns [B, S, 1, H, W]."""
        images = x.flatten(0, 1)
        seen = F.relu(self.look(F.adaptive_avg_pool2d(images, SMALL).flatten(1)))
        h = F.relu(self.hidden(torch.cat([seen, z.flatten(0, 1)], 1)))
        # every new pixel p looks at p + u(p) in the old drawing
        knots = self.field(h).unflatten(1, (2, self.knots, self.knots))
        u = F.interpolate(knots, size=images.shape[-2:], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        still = F.affine_grid(torch.eye(2, 3).to(x).expand(len(images), 2, 3), list(images.shape), align_corners=False)
        bent = F.grid_sample(images, still + u, align_corners=False)
        ink = F.relu(self.first(bent) + self.shade(h)[:, :, None, None])
        return torch.sigmoid(INK * (bent - 0.5) + self.second(ink)).view(x.shape)


class PairNet(nn.Module):
    """Two drawings as two channels of one: [B, S, 1, H, W] twice -> [B, S, outputs], by three strided convolutions.

    size: H and W. width: channels of the first layer; the others have twice and four times as many.

    Raises TypeError or ValueError for counts below 1.
    """

    def __init__(self, outputs: int, *, size: int = 28, width: int = 16) -> None:
        super().__init__()
        check_count("size", size, least=8)
        channels, layers = 2, []
        for i in range(3):
            layers += [nn.Conv2d(channels, check_count("width", width) << i, 3, 2, 1), nn.LeakyReLU(0.2)]
            channels, size = width << i, -(-size // 2)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size**2, outputs))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """a, b: [B, S, 1, H, W]. Returns [B, S, outputs]."""
        return self.layers(torch.cat([a, b], 2).flatten(0, 1)).unflatten(0, a.shape[:2])
