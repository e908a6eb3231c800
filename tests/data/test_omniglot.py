"""Omniglot from zip files of the official layout, made here; the real ones where METABOOK_DATA has them."""

import functools
import hashlib
import io
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from metabook.checks import check_episode
from metabook.data import challenge, omniglot
from metabook.data.download import RemoteFile, find
from metabook.data.pixels import area_average
from metabook.likelihood import Classification
from metabook.registry import make_tasks
from metabook.tasks import OmniglotChallenge, Tasks


def drawing(seed, size=105):
    """PNG bytes of a two-colour page: white, with a dark block and a dot whose places depend on the seed."""
    page = np.full((size, size), 255, np.uint8)
    rng = np.random.default_rng(seed)
    row, column = rng.integers(10, 80, 2)
    page[row : row + 15, column : column + 15] = 0
    page[rng.integers(9), rng.integers(size)] = 0
    out = io.BytesIO()
    Image.fromarray(page).convert("1").save(out, "PNG")
    return out.getvalue(), page


def packed(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A data folder; ``place(name, content)`` puts an archive there and makes its checksum the right one."""
    monkeypatch.setenv("METABOOK_DATA", str(tmp_path))
    monkeypatch.setenv("METABOOK_CACHE", str(tmp_path / "cache"))
    files = dict(omniglot.FILES)
    monkeypatch.setattr(omniglot, "FILES", files)
    (tmp_path / "omniglot").mkdir()

    def put(name, content):
        content = packed(content) if isinstance(content, dict) else content
        path = tmp_path / files[name].path
        path.write_bytes(content)
        files[name] = RemoteFile(files[name].path, files[name].address, "sha256", hashlib.sha256(content).hexdigest())
        return path

    return put


def alphabets(top, **characters):
    """Members of an official set: every alphabet with so many characters of 3 drawings."""
    return {
        f"{top}/{alphabet}/character{c + 1:02}/{d}.png": drawing(zlib.crc32(f"{alphabet} {c} {d}".encode()))[0]
        for alphabet, count in characters.items()
        for c in range(count)
        for d in range(3)
    }


def test_classes_groups_and_pixels(place):
    seen = alphabets("images_background_small1", Latin=2, Greek=3)
    place("small1", {"images_background_small1/": b"", "__MACOSX/images_background_small1/._x.png": b"?", **seen})
    data = omniglot.load("small1")
    assert data.names[:4] == ["Greek/character01", "Greek/character02", "Greek/character03", "Latin/character01"]
    assert data.group_names == ["Greek", "Latin"] and data.groups.tolist() == [0, 0, 0, 1, 1]
    assert data.images.shape == (15, 1, 28, 28) and data.images.dtype == torch.uint8
    assert data.labels.bincount().tolist() == [3] * 5
    # dark ink is 255 here; a block of 15 x 15 pixels covers (15 * 28/105)^2 = 16 small ones
    assert (data.images.double().sum((1, 2, 3)) / 255 - 16).abs().max() < 0.1
    raw = seen["images_background_small1/Latin/character02/1.png"]
    ink = 1 - np.asarray(Image.open(io.BytesIO(raw)).convert("L"), float) / 255
    blocks = torch.tensor(ink).repeat_interleave(4, 0).repeat_interleave(4, 1).view(28, 15, 28, 15).mean((1, 3))
    own = data.images[(data.labels == 4).nonzero()[1, 0], 0].double() / 255
    torch.testing.assert_close(own, blocks, atol=0.003, rtol=0)


def test_held_out_has_only_new_alphabets(place):
    place("small1", alphabets("a", Latin=2, Greek=2))
    place("small2", alphabets("b", Latin=2, Tagalog=3))
    data = omniglot.held_out("small1", "small2")
    assert data.group_names == ["Tagalog"] and len(data.names) == 3
    with pytest.raises(ValueError, match="held_out: 'small1' given; it has no alphabet that small1 does not have"):
        omniglot.held_out("small1", "small1")


def runs(count=20, lines=20):
    """all_runs.zip: training classes and test items, paired in an order that differs from run to run."""
    members = {}
    for r in range(1, count + 1):
        order = np.random.default_rng(r).permutation(20)
        for i in range(20):
            members[f"run{r:02}/training/class{i + 1:02}.png"] = drawing(100 * r + i)[0]
            members[f"run{r:02}/test/item{i + 1:02}.png"] = drawing(100 * r + order[i])[0]
        members[f"run{r:02}/class_labels.txt"] = "".join(
            f"run{r:02}/test/item{i + 1:02}.png run{r:02}/training/class{order[i] + 1:02}.png\n" for i in range(lines)
        )
    return members


def test_challenge_pairs_items_with_their_class(place):
    """In this archive a test item is the very image of its class, so the pairing can be seen."""
    place("challenge", runs())
    episode = check_episode(challenge.load_challenge(), Classification(20), (1, 28, 28))
    assert episode.support.y.tolist() == [list(range(20))] * 20
    for task in range(20):
        assert sorted(episode.query.y[task].tolist()) == list(range(20))
        assert torch.equal(episode.query.x[task], episode.support.x[task][episode.query.y[task]])
    assert episode.query.y[0].tolist() == np.random.default_rng(1).permutation(20).tolist()


def test_challenge_tasks_deal_every_run_once(place, device):
    place("challenge", runs())
    tasks = OmniglotChallenge()
    assert isinstance(tasks, Tasks) and tasks.likelihood.size == 20
    episode = tasks.sample(40, torch.Generator(device=device).manual_seed(0))
    assert episode.support.x.device.type == device.type
    known = [x.numpy().tobytes() for x in tasks.episode.support.x]
    dealt = [known.index(x.cpu().numpy().tobytes()) for x in episode.support.x]
    assert sorted(dealt[:20]) == sorted(dealt[20:]) == list(range(20)) and dealt[:20] != dealt[20:]


def test_real_small1():
    """The official file, where METABOOK_DATA has it."""
    if find(omniglot.FILES["small1"]) is None or find(omniglot.FILES["small2"]) is None:
        pytest.skip("METABOOK_DATA has no Omniglot here")
    data = omniglot.load("small1")
    assert data.group_names == ["Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"]
    assert len(data.names) == 136 and data.labels.bincount().tolist() == [20] * 136
    assert omniglot.held_out("small1", "small2").group_names == ["Japanese_(katakana)", "Sanskrit", "Tagalog"]


GOOD = alphabets("top", Latin=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a zip file", "small1.zip: no zip file, or cut short"),
        (packed(GOOD)[:-300], "small1.zip: no zip file, or cut short"),
        (packed(GOOD).replace(b"IHDR", b"IHDX"), "is damaged .Bad CRC-32"),
        ({**GOOD, "top/../../evil.png": b"x"}, "member 'top/../../evil.png' points outside the archive; refused"),
        ({**GOOD, "/etc/evil.png": b"x"}, "member '/etc/evil.png' points outside"),
        ({**GOOD, "..\\evil.png": b"x"}, "points outside"),
        ({**GOOD, "top/x.png": drawing(0)[0]}, "unexpected member top/x.png; the archive has another layout"),
        ({"readme.txt": b""}, "no images in it"),
        ({**GOOD, "top/Latin/character01/9.png": b"GIF"}, "top/Latin/character01/9.png is no readable image"),
        ({**GOOD, "top/Latin/character01/9.png": drawing(0)[0][:-40]}, "9.png is no readable image"),
        ({**GOOD, "top/Latin/character01/9.png": drawing(0, 120)[0]}, "is 120 x 120; 105 x 105 is needed"),
        ({**GOOD, "top/Latin/character01/9.png": bytes(2_000_000)}, "has 2000000 bytes; allowed are"),
    ],
)
def test_bad_archive(place, content, message):
    path = place("small1", content)
    with pytest.raises(ValueError, match=message) as raised:
        omniglot.load("small1")
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)
    assert list(path.parent.iterdir()) == [path]  # nothing was extracted


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (runs(19), "19 runs found, 20 are needed"),
        (runs(lines=19), "run01/class_labels.txt does not pair 20 test images with 20 classes"),
        ({k: v for k, v in runs().items() if k != "run07/test/item03.png"}, "no member run07/test/item03.png"),
    ],
)
def test_bad_challenge(place, members, message):
    place("challenge", members)
    with pytest.raises(ValueError, match=message):
        challenge.load_challenge()


@functools.cache
def small_pictures():
    """The pixels of each drawing of ``alphabets`` as they come out, and its name."""
    made = alphabets("top", Large=23, Huge=21)
    pages = [255 - np.asarray(Image.open(io.BytesIO(content)).convert("L")) for content in made.values()]
    small = area_average(torch.from_numpy(np.stack(pages)), 28)
    return {page.numpy().tobytes(): name for page, name in zip(small, made, strict=True)}


def by_person(x):
    """Alphabet, character and drawing of an image [1, 28, 28]."""
    return small_pictures()[(x * 255).round().to(torch.uint8).numpy().tobytes()].split("/")[1:]


@pytest.fixture
def practice(place):
    """The place of practice runs; small2 has two new alphabets with 20 characters and one with less."""
    place("small1", alphabets("top", Latin=2))
    place("small2", alphabets("top", Latin=2, Large=23, Huge=21, Tiny=3))
    return challenge.write_practice_runs


def test_practice_runs_are_of_the_official_kind(practice, tmp_path):
    """One person has drawn all classes of a run, another all its queries; all of one new alphabet, which take turns."""
    path = practice(tmp_path / "practice.zip", runs=3)
    episode = check_episode(challenge.load_challenge(path), Classification(20), (1, 28, 28))
    assert len(episode.support.y) == 3
    for task, alphabet in enumerate(("Huge", "Large", "Huge")):
        shown = [by_person(x) for x in episode.support.x[task]]
        asked = [by_person(x) for x in episode.query.x[task]]
        assert {name for name, _, _ in shown + asked} == {alphabet}
        assert len({c for _, c, _ in shown}) == 20
        assert [c for _, c, _ in asked] == [shown[y][1] for y in episode.query.y[task].tolist()]
        (one,), (other,) = {d for _, _, d in shown}, {d for _, _, d in asked}
        assert one != other
    assert episode.query.y[0].tolist() != episode.query.y[2].tolist()


def test_the_same_seed_gives_the_same_file(practice, tmp_path):
    paths = [practice(tmp_path / f"{i}.zip", runs=2, seed=seed) for i, seed in enumerate((0, 0, 1))]
    contents = [path.read_bytes() for path in paths]
    assert contents[0] == contents[1] != contents[2]


def test_practice_runs_as_tasks(practice, tmp_path):
    """A hundred and one runs: their names have two and three digits, and their order is that of the numbers."""
    path = practice(tmp_path / "practice.zip", runs=101)
    tasks = make_tasks("omniglot-challenge", part="test", archive=str(path))
    assert tasks.runs == 101
    names = zipfile.ZipFile(path).namelist()
    assert "run09/class_labels.txt" in names and "run101/class_labels.txt" in names
    first = make_tasks("omniglot-challenge", part="test", archive=str(practice(tmp_path / "first.zip", runs=3)))
    assert torch.equal(tasks.episode.support.x[:3], first.episode.support.x)


def test_no_practice_without_a_large_new_alphabet(place, tmp_path):
    place("small1", alphabets("top", Latin=2))
    place("small2", alphabets("top", Latin=2, Tiny=3))
    with pytest.raises(ValueError, match="held_out: 'small2' given; its new alphabets, Tiny, have too few characters"):
        challenge.write_practice_runs(tmp_path / "practice.zip")
    assert not (tmp_path / "practice.zip").exists()


def test_an_archive_that_is_none(place, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"archive: .*none\.zip given; there is no such file"):
        challenge.load_challenge(tmp_path / "none.zip")
    (tmp_path / "empty.zip").write_bytes(packed({"readme.txt": b""}))
    with pytest.raises(ValueError, match="0 runs found, at least one is needed"):
        challenge.load_challenge(tmp_path / "empty.zip")


def test_framed_letters_are_large_in_training_tests_and_runs(practice, tmp_path):
    """A block of 15 of 105 pixels in a corner fills 24/28 of a side when framed; the dot is in the same letter."""
    path = practice(tmp_path / "practice.zip", runs=1)
    made = {"split": "small1", "held_out": "small2", "way": 2, "queries": 1}
    families = {
        ("omniglot", "test"): made,
        ("omniglot-challenge", "test"): {"archive": str(path)},
    }
    for (name, part), options in families.items():
        plain, framed = (
            make_tasks(name, part=part, size=56, framed=framed, **options).sample(1, torch.Generator().manual_seed(0))
            for framed in (False, True)
        )
        for episode, large in ((plain, False), (framed, True)):
            x = episode.support.x[0]
            assert x.shape[1:] == (1, 56, 56)
            sides = [
                max(image[0].any(d).nonzero().max() - image[0].any(d).nonzero().min() + 1 for d in (0, 1))
                for image in x
            ]
            assert all((46 <= side <= 50) == large or not large for side in sides), sides


def test_all_classes_are_for_training_only(place):
    place("small1", alphabets("top", Latin=9))
    place("small2", alphabets("top", Latin=9, Greek=4))
    options = {"split": "small1", "held_out": "small2", "way": 2, "queries": 1, "rotations": False, "all_classes": True}
    counts = [make_tasks("omniglot", part=part, **options).classes for part in ("train", "validation", "test")]
    assert counts == [9, 2, 4]


def test_rotations_and_flips_are_training_classes_only(place):
    """Of nine Latin characters two are kept for validation: 7 for training, 4 x 7 with turns, 8 x 7 with mirrors."""
    place("small1", alphabets("top", Latin=9))
    place("small2", alphabets("top", Latin=9, Greek=4))
    classes = {
        (part, rotations, flips): make_tasks(
            "omniglot", part=part, split="small1", held_out="small2", way=2, queries=1, rotations=rotations, flips=flips
        ).classes
        for part in ("train", "validation", "test")
        for rotations in (False, True)
        for flips in (False, True)
    }
    assert [classes["train", r, f] for r in (False, True) for f in (False, True)] == [7, 14, 28, 56]
    assert {classes["validation", r, f] for r in (False, True) for f in (False, True)} == {2}
    assert {classes["test", r, f] for r in (False, True) for f in (False, True)} == {4}


def test_unknown_split():
    with pytest.raises(ValueError, match="split: 'small3' given; allowed are background, evaluation, small1, small2"):
        omniglot.load("small3")


def test_handwriting_joins_printed_letters_in_training_only(place):
    """Nine Latin characters in four turns are 36 classes more to train on, and none to be tested on."""
    place("small1", alphabets("top", Latin=9))
    counts = {
        part: [make_tasks("glyphs", part=part, handwritten=split).classes for split in (None, "small1")]
        for part in ("train", "validation", "test")
    }
    printed, both = counts.pop("train")
    assert both == printed + 36
    assert all(without == with_ for without, with_ in counts.values())
