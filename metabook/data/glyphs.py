"""Glyphs: letters of many scripts, the default data set, which needs no download.

Every class is a letter, every image that letter in one face of the fonts that matplotlib ships: DejaVu Sans, DejaVu
Sans Mono and DejaVu Serif (Bitstream Vera and Arev licences, changes in the public domain) and STIX General (STIX font
licence, free to use and distribute). Both licences allow renders like these; their texts lie beside the fonts, in
``matplotlib.get_data_path()/fonts/ttf/LICENSE_DEJAVU`` and ``LICENSE_STIX``.

``python -m metabook.data.glyphs`` renders the file of the package again, in about 15 seconds.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageFont

from metabook.checks import check_choice
from metabook.data.class_images import ClassImages
from metabook.files import write_whole

FILE = Path(__file__).with_name("glyphs.npz")
PARTS = {
    "train": ("LATIN", "CANADIAN", "CYRILLIC", "GREEK", "OLD", "COPTIC", "LISU"),
    "validation": ("ARABIC", "LAO"),
    "test": ("GEORGIAN", "ARMENIAN", "HEBREW"),
}  #: the first word of a letter's Unicode name is its script
SCRIPTS = {"CANADIAN": "Canadian syllabics", "OLD": "Old Italic"}
FACES = (
    *(f"DejaVuSans{style}" for style in ("", "-Oblique", "-Bold", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Oblique", "-Bold", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Italic", "-Bold", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Italic", "Bol", "BolIta")),
)
SIZE, BOX = 28, 20  # pixels: a letter fills a box of 20 in an image of 28, about as in Omniglot
LEAST_FACES = 4
POINTS, LEAST_EXTENT = 100, 45  # drawn at 100 points, where an x is about 55 pixels high; smaller ones are vowel marks
ALIKE = 0.95  # correlation of two blurred letters of one face from which they are look-alikes
Renders = dict[int, NDArray[np.uint8]]  # face -> image


def load(part: str) -> ClassImages:
    """The letters of the scripts of one part: train, validation or test. Images are [n, 1, 28, 28].

    Class names are Unicode names (``unicodedata.lookup`` gives the letter); groups are scripts.

    Raises ValueError for an unknown part, FileNotFoundError if the package lost its file.
    """
    check_choice("part", part, PARTS)
    if not FILE.is_file():
        raise FileNotFoundError(f"{FILE}: not there; python -m metabook.data.glyphs renders it")
    with np.load(FILE, allow_pickle=False) as file:
        images, labels, letters = (torch.from_numpy(file[key]) for key in ("images", "labels", "letters"))
    names = [unicodedata.name(chr(letter)) for letter in letters.tolist()]
    scripts = [name.split()[0] for name in names]
    group_names = list(dict.fromkeys(scripts))
    everything = ClassImages(
        images.unsqueeze(1),
        labels.long(),
        names,
        torch.tensor([group_names.index(script) for script in scripts]),
        group_names,
    )
    chosen = everything.select_groups(PARTS[part])
    return chosen._replace(group_names=[SCRIPTS.get(name, name.title()) for name in chosen.group_names])


def render() -> dict[str, NDArray[np.generic]]:
    """Every usable letter in every face that has it: the arrays of the file.

    images: [n, 28, 28] uint8, by class. labels: [n] int16. letters: [classes] int32 code points.
    """
    renders = {letter: faces for letter, faces in _all_renders().items() if len(faces) >= LEAST_FACES}
    letters = _without_look_alikes(renders)
    images = [image for letter in letters for image in renders[letter].values()]
    labels = [label for label, letter in enumerate(letters) for _ in renders[letter]]
    return {
        "images": np.stack(images),
        "labels": np.array(labels, np.int16),
        "letters": np.array(letters, np.int32),
    }


def _all_renders() -> dict[int, Renders]:
    """Letter -> its different renders. A face without a glyph for a letter is left out, never a replacement box."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    wanted = {script for scripts in PARTS.values() for script in scripts}
    found: dict[int, Renders] = {}
    for face, name in enumerate(FACES):
        path = str(folder / f"{name}.ttf")
        font = ImageFont.truetype(path, POINTS, layout_engine=ImageFont.Layout.BASIC)
        for letter in sorted(FT2Font(path).get_charmap()):
            char = chr(letter)
            if unicodedata.category(char) not in ("Lu", "Ll", "Lo"):
                continue
            if unicodedata.name(char, "?").split()[0] not in wanted:
                continue
            image = _draw(font, char)
            others = found.setdefault(letter, {})
            if image is not None and not any(np.array_equal(image, other) for other in others.values()):
                others[face] = image
    return found


def _draw(font: ImageFont.FreeTypeFont, char: str) -> NDArray[np.uint8] | None:
    """The letter's ink, scaled to the box and centred; None if it has no ink, or is no more than a mark."""
    mask, _ = font.getmask2(char, mode="L")
    if 0 in mask.size:
        return None
    drawn = Image.frombytes("L", mask.size, bytes(mask))
    bounds = drawn.getbbox()
    if bounds is None:
        return None
    ink = drawn.crop(bounds)
    if max(ink.size) < LEAST_EXTENT:
        return None
    scale = BOX / max(ink.size)
    size = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    resample = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    page = Image.new("L", (SIZE, SIZE))
    page.paste(ink.resize(size, resample), ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    return np.asarray(page)


def _without_look_alikes(renders: dict[int, Renders]) -> list[int]:
    """The letters to keep, in the order of their code points.

    Two letters look alike when their renders correlate by ``ALIKE`` or more in some face. The first one stays: ASCII,
    then unaccented letters, the scripts of test and validation before those of train, which have plenty.
    """
    order = [script for part in ("test", "validation", "train") for script in PARTS[part]]

    def rank(letter: int) -> tuple[bool, bool, int, int]:
        char = chr(letter)
        script = unicodedata.name(char).split()[0]
        return letter > 127, bool(unicodedata.decomposition(char)), order.index(script), letter

    letters = sorted(renders, key=rank)
    alike = np.full((len(letters), len(letters)), -1.0, np.float32)
    for face in range(len(FACES)):
        rows = [row for row, letter in enumerate(letters) if face in renders[letter]]
        pictures = torch.from_numpy(np.stack([renders[letters[row]][face] for row in rows])).float()
        pictures = torch.nn.functional.avg_pool2d(pictures.unsqueeze(1), 3, 1, 1).flatten(1)
        pictures = torch.nn.functional.normalize(pictures - pictures.mean(1, keepdim=True), dim=1)
        block = np.ix_(rows, rows)
        alike[block] = np.maximum(alike[block], (pictures @ pictures.T).numpy())
    kept: list[int] = []
    for row in range(len(letters)):
        if not kept or alike[row, kept].max() < ALIKE:
            kept.append(row)
    return sorted(letters[row] for row in kept)


def write(path: str | os.PathLike[str] = FILE) -> Path:
    """Render the data set and write it to ``path``, whole or not at all. Raises OSError if that cannot be done."""
    arrays = render()

    def save(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    return write_whole(path, save)


if __name__ == "__main__":
    print(write())
