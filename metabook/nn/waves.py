"""A place as waves of random frequency, so that what is near looks alike and what is far does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.checks import check_count, check_positive


class Waves(nn.Module):
    """Sine and cosine of random frequencies: x [..., X] -> [..., D], numbers from -1 to 1.

    Rahimi and Recht (2007), *Random features for large-scale kernel machines*, alg. 1, without its factor sqrt(2 / D).
    With frequencies f from N(0, scale^2 I) the inner product of two results is D / 2 times the mean of
    cos(f . (x - x')). Its expectation is the Gaussian kernel exp(-scale^2 |x - x'|^2 / 2): near 1 for places nearer
    than 1 / scale, near 0 for those some times as far. The frequencies are no parameters; they come from torch's global
    generator, as weights do.

    inputs: X. width: D, an even number. scale: standard deviation of a frequency, in radians for each unit of x.

    Raises TypeError or ValueError for sizes below 1, an odd width and a scale not above 0.
    """

    takes_tasks = True
    frequencies: Tensor

    def __init__(self, inputs: int, width: int, *, scale: float) -> None:
        super().__init__()
        if check_count("width", width) % 2:
            raise ValueError(f"width: {width} given; half of it are sines, an even number is needed")
        frequencies = check_positive("scale", scale) * torch.randn(check_count("inputs", inputs), width // 2)
        self.register_buffer("frequencies", frequencies)  # [X, D/2]

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., X] -> [..., D]."""
        # z(x) = [sin(f_1 . x), ..., cos(f_1 . x), ...]                                        (alg. 1)
        angles = x @ self.frequencies
        return torch.cat([angles.sin(), angles.cos()], -1)
