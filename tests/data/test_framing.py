"""The frame of drawings: where and how large they were on the paper does not matter."""

from __future__ import annotations

import pytest
import torch

from metabook.data.framing import frame_ink


def drawing(side, top, left, height, width):
    image = torch.zeros(1, 1, side, side, dtype=torch.uint8)
    image[..., top : top + height, left : left + width] = 255
    return image


def test_a_square_of_ink_fills_twenty_of_twenty_eight_pixels():
    # 40 of 140 pixels wide; in the frame of 56 it is padded by 8, which is 4 of 28 on every side.
    expected = torch.zeros(1, 28, 28, dtype=torch.uint8)
    expected[:, 4:24, 4:24] = 255
    assert torch.equal(frame_ink(drawing(140, 3, 90, 40, 40))[0], expected)


def test_how_much_of_a_side_the_ink_fills():
    # 40 pixels wide in a frame of 80: half of it
    expected = torch.zeros(1, 28, 28, dtype=torch.uint8)
    expected[:, 7:21, 7:21] = 255
    assert torch.equal(frame_ink(drawing(140, 3, 90, 40, 40), fill=0.5)[0], expected)
    with pytest.raises(ValueError, match=r"fill: 1\.5 given; above 0 and at most 1 is allowed"):
        frame_ink(drawing(140, 3, 90, 40, 40), fill=1.5)


def test_position_and_scale_do_not_matter():
    small, large = drawing(200, 10, 150, 40, 20), drawing(200, 30, 60, 120, 60)
    assert torch.equal(frame_ink(small), frame_ink(large))


def test_faint_ink_is_framed_too_and_keeps_its_shade():
    faint = drawing(140, 3, 90, 40, 40) // 5
    assert torch.equal(frame_ink(faint), frame_ink(drawing(140, 3, 90, 40, 40)) // 5)


def test_each_image_by_itself_in_the_size_asked_for():
    images = torch.cat([drawing(100, 0, 0, 10, 10), drawing(100, 5, 5, 80, 30)])
    framed = frame_ink(images, size=14)
    assert framed.shape == (2, 1, 14, 14) and torch.equal(framed[1], frame_ink(images[1:], size=14)[0])


def test_paper_without_ink_stays_paper():
    assert torch.equal(frame_ink(drawing(50, 0, 0, 0, 0)), torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
