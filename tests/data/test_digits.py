"""The digits of scikit-learn as images like the letters, and the tasks made of them."""

import sys

import pytest
import torch
from sklearn.datasets import load_digits

from metabook.cli import main
from metabook.data import digits
from metabook.registry import make_tasks


@pytest.fixture(scope="module")
def parts():
    return {part: digits.load(part) for part in digits.PARTS}


def test_every_drawing_is_in_one_part_with_its_label_and_in_the_order_of_the_file(parts):
    _, labels = load_digits(return_X_y=True)
    for digit in range(10):
        counts = [int((part.labels == digit).sum()) for part in parts.values()]
        assert sum(counts) == int((labels == digit).sum())
        assert abs(counts[0] - 3 * counts[1]) <= 3 and abs(counts[1] - counts[2]) <= 1, "three fifths, one, one"
    seen = [image.numpy().tobytes() for part in parts.values() for image in part.images]
    assert len(set(seen)) == len(seen) == len(labels)
    small, _ = load_digits(return_X_y=True)
    zeros = (labels == 0).nonzero()[0]
    for part, row in (("train", zeros[0]), ("test", zeros[-1])):
        images = parts[part].images[parts[part].labels == 0]
        assert torch.equal(images[0 if part == "train" else -1, 0], by_hand(small[row].reshape(8, 8)))


def by_hand(small):
    """Pixel i of 20 lies at (i + 1/2) 8/20 - 1/2 of 8; between two old pixels the value goes in a straight line."""
    large = torch.zeros(28, 28, dtype=torch.uint8)
    at = [min(max((i + 0.5) * 0.4 - 0.5, 0.0), 7.0) for i in range(20)]
    for i, y in enumerate(at):
        for j, x in enumerate(at):
            top, left = min(int(y), 6), min(int(x), 6)
            v, u = y - top, x - left
            upper = (1 - u) * small[top, left] + u * small[top, left + 1]
            lower = (1 - u) * small[top + 1, left] + u * small[top + 1, left + 1]
            large[4 + i, 4 + j] = round(((1 - v) * upper + v * lower) * 255 / 16)
    return large


@pytest.mark.parametrize("part", digits.PARTS)
def test_tasks_are_of_one_part_and_of_all_ten_digits(part, parts):
    tasks = make_tasks("digits", part=part, way=10, shots=2, queries=3)
    support, query = tasks.sample(3, torch.Generator().manual_seed(0))
    pairs = zip(parts[part].images, parts[part].labels, strict=True)
    known = {image.numpy().tobytes(): int(label) for image, label in pairs}
    drawn = torch.cat([support.x, query.x], 1)
    labels = torch.cat([support.y, query.y], 1)
    for images, numbers in zip((drawn * 255).round().to(torch.uint8), labels, strict=True):
        digit = [known[image.numpy().tobytes()] for image in images]
        pairs = set(zip(digit, numbers.tolist(), strict=True))
        assert len(pairs) == 10 and {d for d, _ in pairs} == set(range(10)), "a label of its own for each digit"


def test_bad_input_is_one_line(capsys, monkeypatch):
    with pytest.raises(ValueError, match="part: 'exam' given; allowed are train, validation, test"):
        digits.load("exam")
    with pytest.raises(ValueError, match="way: 11 given; the data have at most 10 classes"):
        make_tasks("digits", way=11)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert main(["evaluate", "nearest-pixels", "--tasks", "digits", "--episodes", "2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "digits: they come with scikit-learn; it is not here: install scikit" in error
