"""The embedded letters: what the shipped file promises, and that it can be rendered again."""

import os
import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import ImageFont

from metabook.data import glyphs


@pytest.fixture(scope="module")
def parts():
    return {part: glyphs.load(part) for part in glyphs.PARTS}


def test_enough_classes_and_faces(parts):
    assert sum(len(part.names) for part in parts.values()) >= 1200
    for part in parts.values():
        assert part.images.dtype == torch.uint8 and part.images.shape[1:] == (1, 28, 28)
        assert part.labels.bincount(minlength=len(part.names)).min() >= 4
        assert len(part.groups) == len(part.names) and int(part.groups.max()) + 1 == len(part.group_names)
    assert os.path.getsize(glyphs.FILE) < 2_500_000


def test_parts_share_no_script(parts):
    scripts = [set(part.group_names) for part in parts.values()]
    assert all(scripts[i].isdisjoint(scripts[j]) for i in range(3) for j in range(i))
    assert "Latin" in parts["train"].group_names and "Hebrew" in parts["test"].group_names
    for part in parts.values():
        for name, group in zip(part.names, part.groups.tolist(), strict=True):
            assert name.split()[0] == part.group_names[group].split()[0].upper()
            assert unicodedata.category(unicodedata.lookup(name)) in ("Lu", "Ll", "Lo")


def test_letters_are_ink_on_paper_with_a_margin(parts):
    images = torch.cat([part.images for part in parts.values()])[:, 0]
    box = torch.zeros(28, 28, dtype=torch.bool)
    box[4:24, 4:24] = True
    assert images[:, ~box].max() == 0
    ink = images.float().mean((1, 2)) / 255
    assert ink.min() > 0.01 and ink.max() < 0.5
    extents = []
    for side in (1, 2):  # from the first to the last row and column with ink
        used = (images > 0).any(side).int()
        extents.append(28 - used.argmax(1) - used.flip(1).argmax(1))
    assert torch.maximum(*extents).min() >= 19  # the letter fills its box


def test_no_render_twice_in_a_class_and_no_look_alikes(parts):
    for part in parts.values():
        flat = part.images.flatten(1).numpy()
        rows = {(label, image.tobytes()) for label, image in zip(part.labels.tolist(), flat, strict=True)}
        assert len(rows) == len(flat)
    whole = {image.tobytes() for part in parts.values() for image in part.images.numpy()}
    assert len(whole) == sum(len(part.images) for part in parts.values())  # nor in two classes
    names = {name for part in parts.values() for name in part.names}
    assert "LATIN CAPITAL LETTER A" in names
    assert not names & {"GREEK CAPITAL LETTER ALPHA", "CYRILLIC CAPITAL LETTER A", "LATIN SMALL LETTER S"}


def test_fonts_of_this_machine_render_the_shipped_images(parts):
    """A few letters drawn anew agree with the file, up to what another FreeType does to edges."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(path), glyphs.POINTS, layout_engine=ImageFont.Layout.BASIC)
    for part in parts.values():
        for label in range(0, len(part.names), 37):
            drawn = glyphs._draw(font, unicodedata.lookup(part.names[label]))
            shipped = part.images[part.labels == label][0, 0].numpy()
            assert np.abs(drawn.astype(float) - shipped).mean() < 8


def test_rendering_again_writes_the_file_whole(tmp_path, monkeypatch):
    """With four faces only, to be quick: upper and lower case of one shape leave one letter."""
    monkeypatch.setattr(glyphs, "FACES", glyphs.FACES[:4])
    monkeypatch.setattr(glyphs, "PARTS", {"train": ("LATIN",), "validation": ("LAO",), "test": ("HEBREW",)})
    path = glyphs.write(tmp_path / "new.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["new.npz"]
    monkeypatch.setattr(glyphs, "FILE", path)
    latin, hebrew = glyphs.load("train"), glyphs.load("test")
    assert hebrew.group_names == ["Hebrew"] and len(hebrew.names) > 20
    assert latin.labels.bincount().min() == 4 == latin.labels.bincount().max()
    assert "LATIN CAPITAL LETTER S" in latin.names and "LATIN SMALL LETTER S" not in latin.names
    assert {f"LATIN CAPITAL LETTER {c}" for c in "ABCDEFGHKLMNPQRSTUVWXYZ"} <= set(latin.names)


def test_bad_input(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="part: 'all' given; allowed are train, validation, test"):
        glyphs.load("all")
    monkeypatch.setattr(glyphs, "FILE", tmp_path / "lost.npz")
    with pytest.raises(FileNotFoundError, match=r"lost.npz: not there; python -m metabook.data.glyphs renders it"):
        glyphs.load("test")
