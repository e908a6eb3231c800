"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, 60,000 to train and 10,000 to test.

LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to document recognition", Proceedings of the
IEEE 86, doi:10.1109/5.726791. The four official files are read from $METABOOK_DATA/mnist, or else downloaded, checked
and kept. No writer of the test drawings is among those of the training drawings.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
from torch import Tensor

from metabook.checks import check_choice
from metabook.data.class_images import ClassImages
from metabook.data.digits import NAMES
from metabook.data.download import RemoteFile, fetch

_PLACE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
FILES = {name: RemoteFile(f"mnist/{name}", _PLACE + name, "md5", md5) for name, md5 in CHECKSUMS.items()}
#: part -> the official set, and from which to which sixth of it: the last of training is for validation
PARTS = {"train": ("train", 0, 5), "validation": ("train", 5, 6), "test": ("t10k", 0, 6)}
BYTES = 8  #: the third byte of an IDX file, its kind of numbers, when they are bytes without a sign


def load(part: str) -> ClassImages:
    """The drawings of one part: train (50,000), validation (10,000) or test (10,000). Images are [n, 1, 28, 28].

    All parts have the same ten classes, named zero to nine, and one group; no drawing is in two parts.

    Raises ValueError for an unknown part, a wrong checksum or a file of another layout; ConnectionError or OSError if
    the files cannot be had or kept.
    """
    official, first, end = PARTS[check_choice("part", part, PARTS)]
    images = _read(f"{official}-images-idx3-ubyte.gz", 3).unsqueeze(1)
    labels = _read(f"{official}-labels-idx1-ubyte.gz", 1).long()
    if len(images) != len(labels):
        raise ValueError(f"mnist: {len(images)} images and {len(labels)} labels; as many are needed of both")
    kept = slice(len(labels) * first // 6, len(labels) * end // 6)
    return ClassImages(images[kept], labels[kept], NAMES, torch.zeros(10, dtype=torch.int64), ["digits"])


def _read(name: str, dimensions: int) -> Tensor:
    path = fetch(FILES[name])
    try:
        with gzip.open(path) as file:
            return parse(bytearray(file.read()), dimensions, path)
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: no whole gzip file ({error}); replace it by {FILES[name].address}") from error


def parse(content: bytearray, dimensions: int, path: Path) -> Tensor:
    """The array in a file of the IDX format: two zero bytes, kind, number of dimensions, sizes of four bytes, numbers.

    path: named in errors. Raises ValueError for another kind, another number of dimensions, or another length.
    """
    start = 4 * (dimensions + 1)
    if content[:4] != bytes([0, 0, BYTES, dimensions]) or len(content) < start:
        raise ValueError(f"{path}: no IDX file of bytes in {dimensions} dimensions")
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    numbers = torch.frombuffer(content, dtype=torch.uint8)[start:]
    if len(numbers) != torch.Size(shape).numel():
        raise ValueError(f"{path}: {len(numbers)} numbers; {shape} are {torch.Size(shape).numel()}")
    return numbers.view(shape)
