"""Bad files, by the kind: one line that names the file and says how to mend it, nothing executed, nothing left."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

import metabook
from metabook.data import folder, omniglot
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import MLP
from metabook.optimization import MAML
from metabook.runs import load_run, read_config


def proto():
    return ProtoNet(MLP(4, 8), Classification(3))


def sine_net(**options):
    return MAML(MLP(1, 1, hidden=(4,)), Regression(), **options)


def file(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class Malicious:
    """Would make a file if the pickle were executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])
    return path


def saved(content, path):
    torch.save(content, path)
    return path


# name of the kind: (what is done, what the one line must say)
FILES = {
    "a folder of images that is not there": (
        lambda t: folder.load(t / "none"),
        "path: .*none given; there is no such folder",
    ),
    "an empty folder of images": (lambda t: folder.load(t), "path: .* has 0 sub-folders; at least two"),
    "an image that is none": (
        lambda t: folder.load(file(file(t / "a" / "1.png", b"text").parents[1] / "b" / "1.png", b"text").parents[1]),
        "a/1.png: no readable image",
    ),
    "an unknown split": (lambda t: omniglot.load("small3"), "split: 'small3' given; allowed are"),
    "weights that are not there": (
        lambda t: metabook.load(sine_net(), t / "none.pt"),
        "path: no checkpoint at .*none.pt; give",
    ),
    "weights cut short": (
        lambda t: metabook.load(sine_net(), cut(metabook.save(sine_net(), t / "w.pt"))),
        "path: .*w.pt is damaged",
    ),
    "weights of another system": (
        lambda t: metabook.load(proto(), metabook.save(sine_net(), t / "w.pt")),
        "path: .*holds a MAML",
    ),
    "weights of another network": (
        lambda t: metabook.load(MAML(MLP(1, 1), Regression()), metabook.save(sine_net(), t / "w.pt")),
        "path: .*does not fit .*shape",
    ),
    "weights without a label": (
        lambda t: metabook.load(sine_net(), saved({"metabook": 1}, t / "w.pt")),
        "path: .*w.pt",
    ),
    "a file of another program": (
        lambda t: metabook.load(sine_net(), saved({"epoch": 3}, t / "w.pt")),
        "path: .*not a metabook checkpoint",
    ),
    "a malicious pickle": (
        lambda t: metabook.load(sine_net(), file(t / "w.pt", pickle.dumps(Malicious(t / "executed")))),
        "path: .*was not loaded",
    ),
    "a malicious checkpoint": (
        lambda t: metabook.load(sine_net(), saved({"metabook": 1, "x": Malicious(t / "executed")}, t / "w.pt")),
        "path: .*was not loaded",
    ),
    "a folder without a run": (lambda t: load_run(t), "run: no run.json in .*metabook train"),
    "run.json that is no JSON": (
        lambda t: load_run(file(t / "run.json", b"{").parent),
        "run: .*run.json is not JSON .*train again",
    ),
    "run.json of another format": (
        lambda t: load_run(file(t / "run.json", b'{"format": 99}').parent),
        "run: .*not a run of format 1",
    ),
    "run.json without a field": (
        lambda t: read_config(file(t / "run.json", b'{"format": 1}').parent),
        "run: .*needs 'system', a str",
    ),
    "a file where a folder must be": (lambda t: metabook.save(sine_net(), file(t / "f", b"") / "w.pt"), "f'"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_bad_file_is_named_in_one_line_and_nothing_is_left(kind, tmp_path):
    act, message = FILES[kind]
    with pytest.raises((ValueError, TypeError, OSError, FloatingPointError, IndexError), match=message) as caught:
        act(tmp_path)
    assert str(caught.value) and "\n" not in str(caught.value)
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert left <= {"w.pt", "run.json", "1.png", "f"}  # what the test itself has put there
