"""Random distortion of images when tasks are drawn: every time a letter is used it looks a little different."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

KNOTS = 4  #: an elastic field is drawn on a grid of 4 x 4 and interpolated smoothly


class Distort:
    """Random affine, elastic and stroke-width distortion of float images [n, C, H, W]; one draw for each image.

    The affine part and the smooth random field follow Simard, Steinkraus, Platt (2003), "Best practices for
    convolutional neural networks", sec. 3; here the field is drawn on a coarse grid and interpolated.

    rotation: up to so many degrees either way. scale: width and height each by up to a factor 1 + scale either way.
    shear: up to so much sideways shift per unit of height. shift: up to this part of the side, each way.
    elastic: standard deviation of the field, as a part of the side. stroke: 0 to 1; how much of a one-pixel wider or
    thinner stroke is mixed in.

    Values stay in [0, 1]; what leaves the image is lost, what enters is paper (0).
    With all strengths 0 the images come back as given.
    Raises ValueError for strengths out of range.
    """

    def __init__(
        self,
        *,
        rotation: float = 15.0,
        scale: float = 0.2,
        shear: float = 0.25,
        shift: float = 0.06,
        elastic: float = 0.035,
        stroke: float = 0.6,
    ) -> None:
        limits = {"rotation": 180.0, "scale": 10.0, "shear": 10.0, "shift": 1.0, "elastic": 1.0, "stroke": 1.0}
        strengths = (rotation, scale, shear, shift, elastic, stroke)
        for (name, most), strength in zip(limits.items(), strengths, strict=True):
            if not 0 <= strength <= most:
                raise ValueError(f"{name}: {strength} given; allowed are 0 to {most:g}")
        self.rotation, self.scale, self.shear, self.shift, self.elastic, self.stroke = strengths

    def __repr__(self) -> str:
        return f"Distort({', '.join(f'{name}={value}' for name, value in vars(self).items())})"

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images [n, C, H, W] in [0, 1], distorted; the generator is on their device."""
        if self.stroke > 0:
            x = self._change_strokes(x, generator)
        if max(self.rotation, self.scale, self.shear, self.shift, self.elastic) > 0:
            x = F.grid_sample(x, self._grid(x, generator), padding_mode="zeros", align_corners=False).clamp_(0, 1)
        return x

    def _change_strokes(self, x: Tensor, generator: torch.Generator) -> Tensor:
        amount = self.stroke * _uniform(x, generator, 1, 1, 1)
        changed = torch.lerp(x, torch.where(amount > 0, _widened(x), 1 - _widened(1 - x)), amount.abs())
        # a stroke becomes thinner, not paler: the darkest ink stays as dark
        return (changed * (_darkest(x) / _darkest(changed).clamp(min=1e-6)).clamp(max=4)).clamp(max=1)

    def _grid(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Where each new pixel looks in the old image, [n, H, W, 2]; coordinates run from -1 to 1."""
        angle = math.radians(self.rotation) * _uniform(x, generator)
        wide, high = (torch.exp(math.log1p(self.scale) * _uniform(x, generator)) for _ in range(2))
        shear = self.shear * _uniform(x, generator)
        right, down = (2 * self.shift * _uniform(x, generator) for _ in range(2))
        cos, sin = angle.cos(), angle.sin()
        affine = (cos * wide, (cos * shear - sin) * high, right, sin * wide, (sin * shear + cos) * high, down)
        knots = torch.randn(len(x), 2, KNOTS**2, generator=generator, device=x.device, dtype=x.dtype)
        # both parts are linear in fixed pictures (x, y, 1 and one bump for each knot): a single product
        weights = torch.cat([torch.stack(affine, 1).view(-1, 2, 3), 2 * self.elastic * knots], 2)
        return (weights @ _pictures(x)).view(len(x), 2, *x.shape[-2:]).permute(0, 2, 3, 1)


def _pictures(x: Tensor) -> Tensor:
    """The pictures that coordinate fields are made of, [3 + KNOTS^2, H * W]: x, y, 1, smooth bumps."""
    height, width = x.shape[-2:]
    across, up = ((torch.arange(size, device=x.device, dtype=x.dtype) * 2 + 1) / size - 1 for size in (width, height))
    one = torch.ones(height, width, device=x.device, dtype=x.dtype)
    spline = torch.eye(KNOTS, device=x.device, dtype=x.dtype)[None, None]
    tall, broad = (
        F.interpolate(spline, (size, KNOTS), mode="bicubic", align_corners=True)[0, 0].T for size in (height, width)
    )
    bumps = tall[:, None, :, None] * broad[None, :, None, :]  # [KNOTS, KNOTS, H, W]
    plane = torch.stack([one * across, one * up.unsqueeze(1), one])
    return torch.cat([plane.flatten(1), bumps.flatten(2).flatten(0, 1)])


def _widened(x: Tensor) -> Tensor:
    """The largest value among each pixel and its eight neighbours (much faster on a CPU than max pooling)."""
    y = x.clone()
    torch.maximum(y[..., 1:], x[..., :-1], out=y[..., 1:])
    torch.maximum(y[..., :-1], x[..., 1:], out=y[..., :-1])
    z = y.clone()
    torch.maximum(z[..., 1:, :], y[..., :-1, :], out=z[..., 1:, :])
    torch.maximum(z[..., :-1, :], y[..., 1:, :], out=z[..., :-1, :])
    return z


def _darkest(x: Tensor) -> Tensor:
    return x.amax((1, 2, 3), keepdim=True)


def _uniform(x: Tensor, generator: torch.Generator, *ones: int) -> Tensor:
    """One number of -1..1 for each image, [n, *ones]."""
    return torch.rand(len(x), *ones, generator=generator, device=x.device, dtype=x.dtype) * 2 - 1


MILD = Distort(rotation=5.0, scale=0.06, shear=0.08, shift=0.02, elastic=0.01, stroke=0.2)
"""A third of the usual strengths: for averaging over copies when a task is scored (``metabook.views``)."""
