"""Bad input to the commands, and disks that refuse: one line, status 2, and nothing half-written left."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

import metabook
from metabook.cli import main
from metabook.files import write_json, write_whole
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import MLP

TRAIN = ["train", "maml", "--tasks", "sinusoids", "--steps", "1", "--batch", "2", "--device", "cpu", "--out", "OUT"]

# arguments (OUT: a folder that does not exist; RUN: a run; HERE: an empty folder) and what the one line must say
COMMANDS = {
    "an unknown command": (["trian"], "invalid choice: 'trian'"),
    "an unknown flag": ([*TRAIN, "--stepps", "3"], "--stepps"),
    "no tasks": (["train", "maml"], "--tasks: needed, unless --recipe says it"),
    "no system": (["train", "--tasks", "sinusoids"], "SYSTEM: needed, unless --recipe says it"),
    "an unknown recipe": (["train", "--recipe", "sinusoid-mamml"], "did you mean sinusoid-maml"),
    "a recipe and what it decides": (
        ["train", "maml", "--recipe", "sinusoid-maml", "--steps", "3", "--set", "inner_lr=1"],
        "system, --steps, --set: given with --recipe sinusoid-maml, which decides it; leave it out",
    ),
    "a recipe without training": (
        ["train", "--recipe", "glyphs-nearest-pixels"],
        "--recipe: glyphs-nearest-pixels trains nothing; metabook evaluate nearest-pixels scores it",
    ),
    "an option that the recipe's tasks do not have": (
        ["train", "--recipe", "sinusoid-maml", "--way", "5"],
        "--way: sinusoids has no such option",
    ),
    "views of vectors": (["evaluate", "RUN", "--views", "4"], r"views: inputs of shape \[1\] are no images"),
    "best views of vectors": (["evaluate", "RUN", "--best-views", "4"], r"best_views: inputs of shape \[1\]"),
    "best views and views": (
        ["evaluate", "nearest-pixels", "--tasks", "glyphs", "--views", "4", "--best-views", "4"],
        "best_views: given with views 4; give one of the two",
    ),
    "practice on vectors": (["evaluate", "RUN", "--fine-tune", "4"], r"fine_tune: inputs of shape \[1\]"),
    "practice without weights": (
        ["evaluate", "nearest-pixels", "--tasks", "glyphs", "--fine-tune", "4"],
        "learner: ProtoNet given has no weights; there is nothing to practise with",
    ),
    "no views": (["evaluate", "nearest-pixels", "--tasks", "glyphs", "--views", "0"], "copies: 0 given; at least 1"),
    "text as a count": ([*TRAIN, "--batch", "many"], "--batch: invalid int value: 'many'"),
    "a negative count": ([*TRAIN, "--steps", "-5"], "steps: -5 given; at least 1"),
    "no shots": ([*TRAIN, "--shot", "0"], "shots: 0 given; at least 1"),
    "a rate that is no number": ([*TRAIN, "--lr", "nan"], "lr: nan given; a finite number"),
    "a flag of other tasks": ([*TRAIN, "--way", "5"], "--way: sinusoids has no such option"),
    "an unknown system": (["train", "mamml", *TRAIN[2:]], "did you mean maml"),
    "unknown tasks": ([*TRAIN[:3], "sinusiods", *TRAIN[4:]], "did you mean sinusoids"),
    "a path on other tasks": ([*TRAIN[:3], "clusters:x", *TRAIN[4:]], "only folder takes a path"),
    "a folder without a path": ([*TRAIN[:3], "folder", *TRAIN[4:]], "folder:PATH"),
    "a system for other targets": (["train", "prototypical", *TRAIN[2:]], "system: prototypical does classification"),
    "nothing to train": (["train", "nearest-pixels", *TRAIN[2:3], "clusters", *TRAIN[4:]], "no meta-parameters"),
    "--set of an unknown option": (
        [*TRAIN, "--set", "iner_lr=1"],
        "iner_lr: not an option of maml or sinusoids; it has inner_lr",
    ),
    "--set without a value": ([*TRAIN, "--set", "inner_lr"], "--set: 'inner_lr' given; write KEY=VALUE"),
    "--set twice": ([*TRAIN, "--set", "inner_lr=1", "--set", "inner-lr=2"], "--set: inner_lr given twice"),
    "--set of a wrong type": ([*TRAIN, "--set", "inner_lr=fast"], "inner_lr: 'fast' given; a number above 0"),
    "--set of no truth value": ([*TRAIN, "--set", "first_order=maybe"], "write first_order=true or first_order=false"),
    "--set of a number as text": ([*TRAIN, "--set", "norm=1"], "norm: '1' given; allowed are batch, group, none"),
    "--set of an option of the tasks": ([*TRAIN, "--set", "amplitude=(2,1)"], "amplitude: "),
    "a device that is not there": ([*TRAIN, "--device", "cuda:99"], "device: 'cuda:99' given; this machine has"),
    "a run that diverges": (
        [*TRAIN, "--set", "inner_lr=1e30", "--set", "inner_steps=3"],
        "outputs: .*not finite; lower",
    ),
    "a run folder that is not there": (["evaluate", "OUT"], "run: no run.json in .*metabook train"),
    "no episodes": (["evaluate", "RUN", "--episodes", "0"], "episodes: 0 given; at least 1"),
    "tasks of another kind": (
        ["evaluate", "RUN", "--tasks", "clusters"],
        "tasks: inputs of shape|tasks: Classification",
    ),
    "an option that changes the weights": (["evaluate", "RUN", "--set", "width=8"], "does not fit"),
    "labels from a run on numbers": (
        ["predict", "RUN", "--support", "HERE", "--query", "x.png"],
        "trained on sinusoids; a classifier is needed",
    ),
    "data that are not known": (["data", "fetch", "omnigolt"], "did you mean omniglot"),
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bad") / "run"
    assert main([path.as_posix() if a == "OUT" else a for a in TRAIN]) == 0
    return path


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_command_line_says_in_one_line_what_is_wrong(kind, tmp_path, run_folder, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, message = COMMANDS[kind]
    (tmp_path / "here").mkdir()
    before = {p: p.read_bytes() for p in run_folder.iterdir()}
    places = {"OUT": str(tmp_path / "out"), "RUN": str(run_folder), "HERE": str(tmp_path / "here")}
    assert main([places.get(a, a) for a in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("metabook: error: ") and error.count("\n") == 1
    assert re.search(message, error)
    assert [p.name for p in tmp_path.rglob("*")] == ["here"]
    assert {p: p.read_bytes() for p in run_folder.iterdir()} == before


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=["full disk", "read-only disk", "not allowed"]
)
@pytest.mark.parametrize("step", ["mkstemp", "write_bytes", "replace"])
def test_a_disk_that_refuses_leaves_nothing_and_says_why(code, step, tmp_path, monkeypatch, capsys):
    def refuse(*args, **options):
        raise OSError(code, os.strerror(code), "the-disk")

    where = {"mkstemp": tempfile, "write_bytes": Path, "replace": os}[step]
    monkeypatch.setattr(where, step, refuse)
    argv = [str(tmp_path / "out") if a == "OUT" else a for a in TRAIN]
    assert main(argv) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"metabook: error: the-disk: {os.strerror(code)}"
    assert not any(tmp_path.rglob("*"))


def test_a_really_full_disk(tmp_path):
    """The operating system itself refuses: files may not pass 2,000 bytes."""
    resource = pytest.importorskip("resource", reason="limits on file sizes are a Unix thing")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            metabook.save(ProtoNet(MLP(4, 64), Classification(3)), tmp_path / "w.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not any(tmp_path.iterdir())


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    path = write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"new": float("nan")})

    def half(beside):
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_whole(path, half)
    assert json.loads(path.read_text()) == {"old": 1} and list(tmp_path.iterdir()) == [path]


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """Data folders that are empty, and no network."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("METABOOK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("METABOOK_CACHE", str(tmp_path / "cache"))

    def unreachable(*args, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    return tmp_path / "data"


def error_of(capsys, *argv):
    capsys.readouterr()
    assert main(list(argv)) == 2
    error = capsys.readouterr().err
    assert error.startswith("metabook: error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    "argv",
    [
        ["data", "fetch", "omniglot-small1"],
        ["train", "prototypical", "--tasks", "omniglot", "--split", "small1", "--device", "cpu", "--out", "run"],
    ],
    ids=["fetch", "train"],
)
def test_no_network_names_the_address_and_where_to_put_the_file(argv, no_data, capsys, monkeypatch):
    monkeypatch.chdir(no_data)
    error = error_of(capsys, *argv)
    assert "no route to host" in error and "https://" in error
    assert str(no_data / "omniglot" / "images_background_small1.zip") in error
    assert not any(p.is_file() for p in no_data.parent.rglob("*")) and not (no_data / "run").exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut short", b"<html>not found</html>"], ids=["empty", "cut", "html"]
)
def test_a_damaged_archive_is_named_with_its_checksum_and_kept(content, no_data, capsys):
    path = no_data / "omniglot" / "images_background_small1.zip"
    path.parent.mkdir()
    path.write_bytes(content)
    error = error_of(capsys, "data", "fetch", "omniglot-small1")
    assert str(path) in error and "sha256" in error and "replace it by https://" in error
    assert [p for p in no_data.parent.rglob("*") if p.is_file()] == [path] and path.read_bytes() == content


def test_queries_that_are_no_images(no_data, tmp_path, capsys):
    support = tmp_path / "support"
    for name in ("a", "b"):
        (support / name).mkdir(parents=True)
        Image.new("L", (30, 30), 255).save(support / name / "1.png")
    run = ["--tasks", f"folder:{support}", "--way", "2", "--queries", "1", "--set", "all_classes=true"]
    few = error_of(capsys, "train", "prototypical", *run[:6], "--shot", "1", "--out", str(tmp_path / "run"))
    assert "every class needs 2 examples; class 0 has 1" in few
    for name in ("a", "b"):
        Image.new("L", (30, 30), 250).save(support / name / "2.png")
    few = error_of(capsys, "train", "prototypical", *run[:6], "--out", str(tmp_path / "run"))
    assert "way: 2 given; of the 2 classes" in few and "the validation part has 0" in few and "all_classes=true" in few
    train = ["train", "prototypical", *run, "--set", "width=4", "--steps", "1", "--device", "cpu"]
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    (tmp_path / "text.png").write_text("text")
    ask = ["predict", str(tmp_path / "run"), "--support", str(support), "--query"]
    assert "text.png: no readable image" in error_of(capsys, *ask, str(tmp_path / "text.png"))
    assert "--query: no file" in error_of(capsys, *ask, str(tmp_path / "none.png"))
    assert "--query: no images in" in error_of(capsys, *ask, str(no_data))
    assert "there is no such folder" in error_of(capsys, *ask[:3], str(tmp_path / "none"), "--query", "x.png")
