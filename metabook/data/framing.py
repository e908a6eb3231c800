"""Putting a drawing into the frame that the letters of glyphs and Omniglot have."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_count
from metabook.data.pixels import area_average

BOX = 20 / 28  # the part of a side that a letter of the glyphs fills; Omniglot's fill about as much
LARGE_BOX = 24 / 28  # the part that a letter of Omniglot fills once it is framed


def frame_ink(images: Tensor, *, size: int = 28, fill: float = BOX) -> Tensor:
    """Images [n, 1, H, W] uint8 (255 ink, 0 paper) as [n, 1, size, size]: the ink centred, filling 20/28 of a side.

    Where and how large a drawing was on its paper no longer matters. Ink is what is darker than half of the darkest
    pixel; an image without any is paper all over. fill: the part of a side that the longer side of the ink gets.

    Raises ValueError for a size below 1, or a fill that is not above 0 and at most 1.
    """
    check_count("size", size)
    if not 0 < fill <= 1:
        raise ValueError(f"fill: {fill} given; above 0 and at most 1 is allowed")
    return torch.stack([_framed(image[0], size, fill) for image in images])


def _framed(image: Tensor, size: int, fill: float) -> Tensor:
    ink = image > image.max() / 2
    if not bool(ink.any()):
        return torch.zeros(1, size, size, dtype=torch.uint8)
    rows, columns = (ink.any(dim).nonzero().flatten() for dim in (1, 0))
    letter = image[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    height, width = letter.shape
    side = round(max(height, width) / fill)
    square = torch.zeros(side, side, dtype=torch.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = letter
    return area_average(square.unsqueeze(0), size)
