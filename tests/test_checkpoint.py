"""Weights on disk: whole or not at all, never code, never of another system."""

import os
import pickle

import pytest
import torch

from metabook.checkpoint import load, save
from metabook.files import write_json, write_whole
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import MLP
from metabook.optimization import MAML


def test_round_trip(tmp_path):
    a, b = MAML(MLP(1, 1), Regression()), MAML(MLP(1, 1), Regression())
    assert not torch.equal(a.net.layers[0].weight, b.net.layers[0].weight)
    assert load(b, save(a, tmp_path / "deep" / "a.pt")) is b
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.pt"]


def test_another_system_and_other_shapes_are_refused(tmp_path):
    path = save(MAML(MLP(2, 3), Classification(3)), tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds a MAML; the learner given is a ProtoNet"):
        load(ProtoNet(MLP(2, 3), Classification(3)), path)
    with pytest.raises(ValueError, match=r"'net.layers.2.bias' has shape \[3\] in it and \[5\]"):
        load(MAML(MLP(2, 5), Classification(5)), path)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    learner = MAML(MLP(1, 1), Regression())
    path = save(learner, tmp_path / "a.pt")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="damaged"):
        load(learner, path)
    torch.save({"weights": {}}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match="not a metabook checkpoint"):
        load(learner, tmp_path / "b.pt")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load(learner, tmp_path / "c.pt")


def test_a_file_with_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"metabook": 1, "learner": "MAML", "weights": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(ValueError, match="not loaded"):
            load(MAML(MLP(1, 1), Regression()), tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})

    def full(beside):
        beside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(target, full)
    with pytest.raises(ValueError):
        write_json(target, {"a": float("nan")})
    assert target.read_text() == '{\n  "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
