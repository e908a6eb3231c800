"""The Omniglot Challenge: one-shot runs within an alphabet, the official twenty or practice runs made the same way.

Lake, Salakhutdinov, Tenenbaum (2015), doi:10.1126/science.aab3050. In a run one person has drawn 20 characters of an
alphabet, another person has drawn the same 20, and each drawing of the second is to be paired with one of the first.
"""

from __future__ import annotations

import os
import random
import re
import zipfile
from pathlib import Path, PurePosixPath

import torch

from metabook.checks import check_count
from metabook.data import omniglot
from metabook.data.archive import Archive
from metabook.data.download import fetch
from metabook.data.omniglot import OFFICIAL_SIZE, RUNS, SIZE, new_alphabets, shrink
from metabook.episode import Episode, Examples
from metabook.files import write_whole

WAY = 20


def load_challenge(archive: str | os.PathLike[str] | None = None, *, size: int = SIZE, framed: bool = False) -> Episode:
    """The runs of an archive, run 1 first; the 20 official ones when None.

    archive: a zip file of the official layout with any number of runs (``write_practice_runs``).
    size, framed: how drawings are made small (``metabook.data.omniglot.shrink``).

    Returns an episode of one task a run: support and query x [runs, 20, 1, size, size] in [0, 1], support y 0..19.
    Raises ValueError for a file that is no such archive, FileNotFoundError, and for the official runs what
    ``metabook.data.omniglot.load`` raises.
    """
    path = fetch(omniglot.FILES["challenge"]) if archive is None else Path(archive)
    if not path.is_file():
        raise FileNotFoundError(f"archive: {path} given; there is no such file")
    with Archive(path) as members:
        lists = [p for p in members.files("class_labels.txt") if re.fullmatch(r"run\d+", p.parent.name)]
        if not lists or (archive is None and len(lists) != RUNS):
            needed = f"{RUNS} are" if archive is None else "at least one is"
            raise ValueError(f"{path}: {len(lists)} runs found, {needed} needed; the archive has another layout")
        support_x, query_x, query_y = [], [], []
        for listed in sorted(lists, key=lambda p: int(p.parent.name[3:])):
            pairs = _pairs(members, listed)
            top = listed.parent.parent  # the lines are paths from here
            classes = sorted({name for _, name in pairs})
            support_x += [members.drawing(top / name, size=OFFICIAL_SIZE) for name in classes]
            query_x += [members.drawing(top / test, size=OFFICIAL_SIZE) for test, _ in pairs]
            query_y.append([classes.index(name) for _, name in pairs])
    shape = (len(lists), WAY, 1, size, size)
    x = [shrink(torch.stack(drawn), size=size, framed=framed).view(shape) / 255 for drawn in (support_x, query_x)]
    return Episode(Examples(x[0], torch.arange(WAY).repeat(len(lists), 1)), Examples(x[1], torch.tensor(query_y)))


def _pairs(members: Archive, listed: PurePosixPath) -> list[tuple[str, str]]:
    """Test image and training image of its class, for each line of a run's list."""
    lines = [line.split() for line in members.read(listed).decode("ascii", "replace").splitlines() if line.strip()]
    pairs = [(line[0], line[1]) for line in lines if len(line) == 2]
    if len(lines) != WAY or len(pairs) != WAY or len({name for _, name in pairs}) != WAY:
        raise ValueError(f"{members.path}: {listed} does not pair {WAY} test images with {WAY} classes")
    return pairs


def write_practice_runs(
    path: str | os.PathLike[str],
    *,
    split: str = "small1",
    held_out: str = "small2",
    runs: int = RUNS,
    seed: int = 0,
) -> Path:
    """Write an archive of the official layout, with runs from the alphabets that ``split`` does not have.

    The alphabets of ``held_out`` with at least 20 characters take turns. Each run draws 20 of the alphabet's characters
    and two of the people who drew it at random. (The official runs use alphabets of the evaluation set.) The same seed
    gives the same file.

    Returns the path. Raises ValueError if no new alphabet has 20 characters, and what ``metabook.data.omniglot.load``
    raises.
    """
    check_count("runs", runs)
    draw = random.Random(check_count("seed", seed, least=0))
    new = new_alphabets(split, held_out)
    with Archive(fetch(omniglot.FILES[held_out])) as archive:
        drawings: dict[str, dict[str, list[PurePosixPath]]] = {}  # alphabet -> character -> by person
        for drawing in archive.files(".png"):
            if drawing.parts[1] in new:
                drawings.setdefault(drawing.parts[1], {}).setdefault(drawing.parts[2], []).append(drawing)
        large = [characters for characters in drawings.values() if len(characters) >= WAY]
        if not large:
            raise ValueError(
                f"held_out: {held_out!r} given; its new alphabets, {', '.join(new)}, have too few characters"
            )

        def write(beside: Path) -> None:
            with zipfile.ZipFile(beside, "w") as out:
                for run in range(runs):
                    characters = draw.sample(list(large[run % len(large)].values()), WAY)
                    one, other = draw.sample(range(min(map(len, characters))), 2)
                    lines = []
                    for i, c in enumerate(draw.sample(range(WAY), WAY)):
                        names = (
                            f"run{run + 1:02}/test/item{i + 1:02}.png",
                            f"run{run + 1:02}/training/class{c + 1:02}.png",
                        )
                        for name, drawing in zip(names, (characters[c][other], characters[c][one]), strict=True):
                            out.writestr(zipfile.ZipInfo(name), archive.read(drawing))
                        lines.append(" ".join(names))
                    out.writestr(zipfile.ZipInfo(f"run{run + 1:02}/class_labels.txt"), "\n".join(lines) + "\n")

        return write_whole(path, write)
