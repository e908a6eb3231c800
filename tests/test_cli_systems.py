"""Every system from the command line: trained in two goes, it ends where one go ends, and is scored from its folder."""

from __future__ import annotations

import json

import pytest
import torch

from metabook.cli import main
from metabook.likelihood import Regression
from metabook.registry import SYSTEMS, build, make_tasks

OPTIONS = {
    "sinusoids": ["--tasks", "sinusoids", "--shot", "3", "--queries", "4"],
    "clusters": ["--tasks", "clusters", "--way", "3", "--shot", "2", "--queries", "2"],
}


def tasks_of(name):
    return "sinusoids" if Regression in SYSTEMS[name].kinds else "clusters"


def trains(name):
    return bool(list(build(name, make_tasks(tasks_of(name))).parameters()))


@pytest.mark.parametrize("name", SYSTEMS)
def test_trained_resumed_and_scored(name, tmp_path, capsys):
    what, scored = OPTIONS[tasks_of(name)], ["--episodes", "4", "--device", "cpu", "--json"]
    if not trains(name):
        assert main(["evaluate", name, *what, *scored]) == 0
        return
    command = ["train", name, *what, "--batch", "2", "--validate-every", "2", "--device", "cpu"]
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert main([*command, "--steps", "4", "--out", str(once)]) == 0
    assert main([*command, "--steps", "2", "--out", str(twice)]) == 0
    assert main([*command, "--steps", "4", "--out", str(twice), "--resume"]) == 0
    last = [torch.load(f / "checkpoint.pt", weights_only=True)["training"]["weights"] for f in (once, twice)]
    assert last[0].keys() == last[1].keys() and all(torch.equal(v, last[1][k]) for k, v in last[0].items())

    capsys.readouterr()
    assert main(["evaluate", str(twice), *scored]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "mse" in json.dumps(printed) or "accuracy" in json.dumps(printed)
