"""Handwritten digits that come with scikit-learn: 1,797 drawings of 8 x 8 pixels, ten classes.

Alpaydin and Kaynak (1998), "Optical Recognition of Handwritten Digits", doi:10.24432/C50P49: the test part of that data
set, by 13 writers. Those of a writer seem to stand together (scikit-learn MOOC, "Sample grouping"), so the parts are
cut in the order of the file, and few writers can be in two of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from metabook.checks import check_choice
from metabook.data.class_images import ClassImages

PARTS = {"train": (0, 3), "validation": (3, 4), "test": (4, 5)}  #: from which to which fifth of the drawings of a digit
SIZE, BOX = 28, 20  # pixels: a digit fills the height of a box of 20 in an image of 28, as the letters of glyphs do
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
DARKEST = 16  # the darkest pixel in scikit-learn's file


def load(part: str) -> ClassImages:
    """The drawings of one part: train, validation or test. Images are [n, 1, 28, 28], enlarged by straight lines.

    All parts have the same ten classes, named zero to nine, and one group; no drawing is in two parts.

    Raises ValueError for an unknown part, FileNotFoundError if scikit-learn is not installed.
    """
    check_choice("part", part, PARTS)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise FileNotFoundError("digits: they come with scikit-learn; it is not here: install scikit-learn") from error
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.from_numpy(pixels).view(-1, 1, 8, 8), torch.from_numpy(digits).long()
    large = F.interpolate(images * (255 / DARKEST), size=(BOX, BOX), mode="bilinear", align_corners=False)
    large = F.pad(large, [(SIZE - BOX) // 2] * 4).round().clamp(0, 255).to(torch.uint8)
    kept = torch.cat([_fifths((labels == digit).nonzero().flatten(), *PARTS[part]) for digit in range(10)])
    return ClassImages(large[kept], labels[kept], NAMES, torch.zeros(10, dtype=torch.int64), ["digits"])


def _fifths(rows: torch.Tensor, first: int, end: int) -> torch.Tensor:
    return rows[len(rows) * first // 5 : len(rows) * end // 5]
