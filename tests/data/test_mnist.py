"""MNIST read from its four official files: here small ones of the same layout, written by hand."""

import gzip
import hashlib

import pytest
import torch

from metabook.data import mnist
from metabook.registry import make_tasks

TRAIN, TEST = 60, 30


def idx(*shape, numbers):
    """An IDX file: two zeros, 8 for bytes, the number of dimensions, the sizes, the numbers."""
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + bytes(numbers)


def pixels(n, first):
    """Images with their number in one corner and the rows' numbers beside it, so that no two are the same."""
    return [
        first + i if (row, column) == (0, 0) else row for i in range(n) for row in range(28) for column in range(28)
    ]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A function that writes a file, whose checksum then is the right one; the four files are there."""
    monkeypatch.setenv("METABOOK_DATA", str(tmp_path))
    files = dict(mnist.FILES)
    monkeypatch.setattr(mnist, "FILES", files)
    (tmp_path / "mnist").mkdir()

    def write(name, content):
        (tmp_path / "mnist" / name).write_bytes(content)
        files[name] = files[name]._replace(checksum=hashlib.md5(content).hexdigest())

    for name, n, first in (("train", TRAIN, 0), ("t10k", TEST, 100)):
        write(f"{name}-images-idx3-ubyte.gz", gzip.compress(idx(n, 28, 28, numbers=pixels(n, first))))
        write(f"{name}-labels-idx1-ubyte.gz", gzip.compress(idx(n, numbers=[i % 10 for i in range(n)])))
    return write


def test_the_parts_are_the_first_five_sixths_the_last_and_the_official_test_set(place):
    parts = {part: mnist.load(part) for part in mnist.PARTS}
    corners = {part: data.images[:, 0, 0, 0].tolist() for part, data in parts.items()}
    assert corners == {"train": [*range(50)], "validation": [*range(50, 60)], "test": [*range(100, 130)]}
    for part, data in parts.items():
        assert data.images.shape[1:] == (1, 28, 28) and data.images.dtype == torch.uint8
        assert data.images[3, 0, :, 5].tolist() == [*range(28)], "rows are rows"
        assert data.labels.tolist() == [i % 10 for i in range(len(corners[part]))]
        assert data.names[7] == "seven" and data.group_names == ["digits"] and data.groups.tolist() == [0] * 10


def test_tasks_are_of_the_drawings_of_one_part(place):
    tasks = make_tasks("mnist", part="test", way=10, shots=1, queries=2)
    support, query = tasks.sample(2, torch.Generator().manual_seed(0))
    for x, y in (support, query):
        corner = (x[..., 0, 0, 0] * 255).round().long()
        assert bool(((corner >= 100) & (corner < 130)).all())
        for numbers, labels in zip(corner % 10, y, strict=True):
            assert len({(int(n), int(label)) for n, label in zip(numbers, labels, strict=True)}) == 10


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-labels-idx1-ubyte.gz", b"no gzip", "no whole gzip file"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(bytes(99))[:-9], "no whole gzip file"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(b""), "no IDX file of bytes in 1 dimensions"),
        (
            "train-images-idx3-ubyte.gz",
            gzip.compress(idx(60, numbers=[0] * 60)),
            "no IDX file of bytes in 3 dimensions",
        ),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(2, 28, 28, numbers=[0] * 9)), r"9 numbers; \[2, 28, 28\] are"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(idx(59, numbers=[0] * 59)), "60 images and 59 labels"),
    ],
    ids=["no gzip", "cut short", "empty", "dimensions", "length", "labels"],  # the packed bytes have the time in them
)
def test_a_file_of_another_layout_is_named(place, name, content, message):
    place(name, content)
    with pytest.raises(ValueError, match=message):
        mnist.load("train")


def test_unknown_part(place):
    with pytest.raises(ValueError, match="part: 'practice' given"):
        mnist.load("practice")
