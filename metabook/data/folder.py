"""The reader's own images: one folder a class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from metabook.checks import check_count
from metabook.data.class_images import ClassImages
from metabook.data.pixels import area_average

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
MOST_PIXELS = 100_000_000  # of one image
LEAST_CONTRAST = 16  # of 255; what differs less from the paper is noise, not ink to be stretched


def load(path: str | os.PathLike[str], *, size: int = 28) -> ClassImages:
    """The images of every sub-folder of ``path``: a class each, in the order of their names.

    Images are made alike by ``read_image``, [n, 1, size, size]. Hidden files and folders and files of other suffixes
    are left out; images may not lie deeper. All classes are of one group, named after ``path``.

    Raises FileNotFoundError or NotADirectoryError for ``path``, ValueError if there are fewer than two classes, a class
    has no image, or an image cannot be read.
    """
    check_count("size", size)
    files, labels = labelled_files(path)
    names = list(dict.fromkeys(labels))
    number = {name: i for i, name in enumerate(names)}
    groups = torch.zeros(len(names), dtype=torch.int64)
    y = torch.tensor([number[label] for label in labels])
    return ClassImages(load_images(files, size=size), y, names, groups, [Path(path).resolve().name])


def labelled_files(path: str | os.PathLike[str]) -> tuple[list[Path], list[str]]:
    """The image files of every sub-folder of ``path``, and for each the name of its sub-folder: its class.

    Both are in the order of the names. Hidden files and folders and files of other suffixes are left out.

    Raises FileNotFoundError or NotADirectoryError for ``path``, ValueError if there are fewer than two classes or a
    class has no image.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"path: {root} given; there is no such folder")
    if not root.is_dir():
        raise NotADirectoryError(f"path: {root} given; that is a file, a folder with one sub-folder a class is needed")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"path: {root} has {len(folders)} sub-folders; at least two are needed, one for each class of images"
        )
    found, labels = [], []
    for folder in folders:
        files = image_files(folder)
        if not files:
            raise ValueError(f"path: {folder} has no images; known are {', '.join(SUFFIXES)}")
        found += files
        labels += [folder.name] * len(files)
    return found, labels


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The images right inside a folder, by name; hidden files and other suffixes are left out."""
    entries = sorted(Path(folder).iterdir())
    return [e for e in entries if e.suffix.lower() in SUFFIXES and not e.name.startswith(".") and e.is_file()]


def load_images(paths: Iterable[str | os.PathLike[str]], *, size: int = 28) -> Tensor:
    """Single image files, made alike by ``read_image``: [n, 1, size, size] uint8.

    Raises ValueError if no path is given, and what ``read_image`` raises.
    """
    images = [read_image(path, size=size) for path in paths]
    if not images:
        raise ValueError("paths: none given; at least one image file is needed")
    return torch.stack(images)


def read_image(path: str | os.PathLike[str], *, size: int = 28) -> Tensor:
    """One image file of any size and colours as [1, size, size] uint8 with ink = 255 on paper = 0.

    Transparent parts are paper. The paper is what the border shows: where its median is light, the image is inverted.
    The contrast is stretched so that paper is 0 and the strongest ink 255. The image is padded with paper to a square,
    then averaged by area (or enlarged linearly).

    Raises FileNotFoundError, ValueError if the file is no readable image, is cut short or is far too big.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: {path} given; there is no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked below, with our own limit
            with Image.open(path) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise ValueError(f"{opened.width} x {opened.height} pixels; allowed are {MOST_PIXELS} in all")
                grey = _grey(ImageOps.exif_transpose(opened))
    except Exception as error:  # Pillow raises errors of many kinds on damaged files
        raise ValueError(f"{path}: no readable image ({str(error).splitlines()[0]})") from error
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border))
    ink = paper - grey if paper > 127 else grey - paper
    if ink.max() >= LEAST_CONTRAST:
        ink = ink * (255 / ink.max())
    ink = ink.clip(0, 255).round().astype(np.uint8)
    height, width = ink.shape
    side = max(height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = ink
    if side < size:
        enlarged = Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(enlarged)).unsqueeze(0)
    return area_average(torch.from_numpy(square).unsqueeze(0), size)


def _grey(image: Image.Image) -> np.ndarray:
    """[H, W] uint8. Transparent parts take the paper's shade: white, or black behind light ink."""
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel: stretched to the range that is used
        values = np.asarray(image, np.float64)
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8)
    if "A" not in image.getbands() and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    layers = np.asarray(image.convert("RGBA").convert("LA"), np.float64)
    grey, opaque = layers[..., 0], layers[..., 1] / 255
    ink = (grey * opaque).sum() / max(opaque.sum(), 1e-12)
    paper = 255.0 if ink < 128 else 0.0
    return (grey * opaque + paper * (1 - opaque)).round().astype(np.uint8)
