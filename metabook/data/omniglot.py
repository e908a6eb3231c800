"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people.

Lake, Salakhutdinov, Tenenbaum (2015), "Human-level concept learning through probabilistic program induction", Science
350, doi:10.1126/science.aab3050. The official zip files (MIT licence) are read from $METABOOK_DATA/omniglot, or else
downloaded, checked and kept. small1 and small2 are the two official small background sets; both have Greek and Latin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_choice, check_count
from metabook.data.archive import Archive
from metabook.data.class_images import ClassImages
from metabook.data.download import RemoteFile, fetch
from metabook.data.framing import LARGE_BOX, frame_ink
from metabook.data.pixels import area_average

SIZE, OFFICIAL_SIZE = 28, 105  # pixels
RUNS = 20
_PLACE = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"


def _file(name: str, algorithm: str, checksum: str, folder: str = "") -> RemoteFile:
    return RemoteFile(f"omniglot/{name}", f"{_PLACE}{folder}{name}", algorithm, checksum)


FILES = {
    "background": _file("images_background.zip", "md5", "68d2efa1b9178cc56df9314c21c6e718"),
    "evaluation": _file("images_evaluation.zip", "md5", "6b91aef0f799c5bb55b94e3f2daec811"),
    "small1": _file(
        "images_background_small1.zip", "sha256", "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4"
    ),
    "small2": _file(
        "images_background_small2.zip", "sha256", "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f"
    ),
    "challenge": _file(
        "all_runs.zip",
        "sha256",
        "437c1eeab0af8484112e1b4cc0f3d541ec727f7c47b9b202da738af9dfd6c325",
        "one-shot-classification/",
    ),
}  #: the official files by name
SPLITS = tuple(name for name in FILES if name != "challenge")


def load(split: str, *, size: int = SIZE, framed: bool = False) -> ClassImages:
    """One official set: background (964 characters), evaluation (659), small1 (136) or small2 (156).

    Images are [n, 1, size, size], the official 105 x 105 made small (``shrink``); classes are characters, named
    alphabet/character, groups are alphabets.

    Raises ValueError for an unknown split, a wrong checksum or a damaged archive; ConnectionError or OSError if the
    file cannot be had or kept.
    """
    check_choice("split", split, SPLITS)
    with Archive(fetch(FILES[split])) as archive:
        paths = list(archive.files(".png"))
        for path in paths:
            if len(path.parts) != 4:  # set/alphabet/character/drawing.png
                raise ValueError(f"{archive.path}: unexpected member {path}; the archive has another layout")
        if not paths:
            raise ValueError(f"{archive.path}: no images in it; the archive has another layout")
        drawings = torch.stack([archive.drawing(path, size=OFFICIAL_SIZE) for path in paths])
    characters = [f"{path.parts[1]}/{path.parts[2]}" for path in paths]
    names = sorted(set(characters))
    number = {name: i for i, name in enumerate(names)}
    alphabets = [name.split("/")[0] for name in names]
    group_names = sorted(set(alphabets))
    return ClassImages(
        shrink(drawings, size=size, framed=framed),
        torch.tensor([number[name] for name in characters]),
        names,
        torch.tensor([group_names.index(alphabet) for alphabet in alphabets]),
        group_names,
    )


def shrink(drawings: Tensor, *, size: int = SIZE, framed: bool = False) -> Tensor:
    """Drawings [n, 105, 105] uint8 as [n, 1, size, size], averaged by area.

    framed: first cut out the ink, so that its longer side fills 24/28 of the image: small letters become large.
    Raises ValueError for a size below 1.
    """
    check_count("size", size)
    if framed:
        return frame_ink(drawings.unsqueeze(1), size=size, fill=LARGE_BOX)
    return area_average(drawings, size).unsqueeze(1)


def held_out(split: str, held_out: str, *, size: int = SIZE, framed: bool = False) -> ClassImages:
    """The alphabets of ``held_out`` that ``split`` does not have: new alphabets for what was trained on ``split``.

    Raises ValueError if there is none, and what ``load`` raises.
    """
    return load(held_out, size=size, framed=framed).select_groups(new_alphabets(split, held_out))


def new_alphabets(split: str, held_out: str) -> list[str]:
    """The names of the alphabets that ``held_out`` has and ``split`` does not.

    Raises ValueError if there is none, and what ``load`` raises.
    """
    known = load(split).group_names
    new = [name for name in load(held_out).group_names if name not in known]
    if not new:
        raise ValueError(f"held_out: {held_out!r} given; it has no alphabet that {split} does not have")
    return new
