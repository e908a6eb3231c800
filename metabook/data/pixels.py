"""Making small images from big ones."""

from __future__ import annotations

import torch
from torch import Tensor


def area_average(images: Tensor, size: int) -> Tensor:
    """Images [n, H, W] uint8 as [n, size, size] uint8: every new pixel is the mean of the area that it covers.

    Pixels on an edge between two areas count for both, each by the part that lies in it.
    """
    rows = _overlaps(images.shape[1], size)
    columns = _overlaps(images.shape[2], size)
    small = [rows @ chunk.float() @ columns.T for chunk in images.split(1024)]
    return torch.cat(small).round_().clamp_(0, 255).to(torch.uint8)


def _overlaps(old: int, new: int) -> Tensor:
    """[new, old]: the part of new cell i that old cell j fills; each row sums to 1."""
    i = torch.arange(new, dtype=torch.float64).unsqueeze(1) * old / new
    j = torch.arange(old, dtype=torch.float64)
    filled = torch.minimum(i + old / new, j + 1) - torch.maximum(i, j)
    return (filled.clamp(min=0) * new / old).float()
