"""Run folders: rebuilt as they were, and a killed run that goes on as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from metabook.cli import main
from metabook.likelihood import Classification
from metabook.runs import load_learner, load_run, read_config
from metabook.tasks import Sinusoids

SINE = ["maml", "--tasks", "sinusoids", "--shot", "3", "--batch", "4", "--set", "inner_steps=2", "--device", "cpu"]
CLUSTERS = ["--tasks", "clusters", "--way", "3", "--shot", "2", "--steps", "3", "--batch", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def sine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "sine"
    assert main(["train", *SINE, "--steps", "3", "--seed", "5", "--out", str(folder)]) == 0
    return folder


def state(folder: Path):
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    history = json.loads((folder / "history.json").read_text())
    assert history.pop("seconds") > 0
    return checkpoint["weights"], checkpoint["training"]["weights"], history


def test_a_run_folder_has_three_files_and_no_others(sine):
    assert sorted(p.name for p in sine.iterdir()) == ["checkpoint.pt", "history.json", "run.json"]


def test_run_json_says_all_that_was_chosen(sine):
    config = read_config(sine)
    assert (config["system"], config["tasks"], config["seed"]) == ("maml", "sinusoids", 5)
    assert config["options"]["inner_steps"] == 2 and config["options"]["first_order"] is False
    assert config["task_options"]["shots"] == 3
    assert config["training"] == {
        "device": "cpu", "steps": 3, "batch": 4, "lr": 1e-3, "validate_every": 1,
        "compile": False, "validation_episodes": 200,
    }  # fmt: skip
    assert config["versions"]["torch"] == torch.__version__


def test_load_run_gives_the_trained_learner_and_its_tasks(sine):
    run = load_run(sine)
    weights, _, _ = state(sine)
    assert run.learner.inner_steps == 2
    assert all(torch.equal(v, weights[k]) for k, v in run.learner.state_dict().items())
    episode = run.tasks.sample(2, torch.Generator().manual_seed(0))
    assert episode.support.x.shape == (2, 3, 1)
    assert run.learner(episode).mean.shape == (2, episode.query.x.shape[1], 1)


def test_same_command_same_weights_and_another_seed_others(sine, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    assert main(["train", *SINE, "--steps", "3", "--seed", "5", "--out", str(again)]) == 0
    assert main(["train", *SINE, "--steps", "3", "--seed", "6", "--out", str(other)]) == 0
    ours, theirs, different = (state(folder)[0] for folder in (sine, again, other))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert not any(torch.equal(ours[k], different[k]) for k in ours if "weight" in k)


def test_a_metric_learner_takes_another_number_of_classes_and_a_fixed_head_does_not(tmp_path):
    for system in ("prototypical", "maml"):
        assert main(["train", system, *CLUSTERS, "--out", str(tmp_path / system)]) == 0
    assert load_learner(tmp_path / "prototypical", likelihood=Classification(7)).likelihood.size == 7
    with pytest.raises(ValueError, match=r"way: 7 classes given; this maml was trained on 3 .* prototypical"):
        load_learner(tmp_path / "maml", likelihood=Classification(7))
    assert load_learner(tmp_path / "maml", likelihood=Classification(3)).likelihood.size == 3


def test_killed_and_resumed_is_bit_for_bit_the_run_never_interrupted(tmp_path):
    command = ["train", *SINE, "--steps", "300", "--validate-every", "40", "--out"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    eager = (  # a checkpoint at every step, so that the kill comes between two of them or inside one
        "import sys, torch, metabook.training as training; from metabook.cli import main;"
        "torch.set_num_threads(1); training.SAVE_EVERY_SECONDS = 0.0; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen([sys.executable, "-c", eager, *command, str(killed)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            file = killed / "history.json"
            if file.exists() and len(json.loads(file.read_text())["losses"]) > 90:
                break
            time.sleep(0.005)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    stopped = len(state(killed)[2]["losses"])
    assert 90 < stopped < 300

    assert main([*command, str(killed), "--resume"]) == 0
    assert main([*command, str(whole)]) == 0
    best, last, history = state(killed)
    best_whole, last_whole, history_whole = state(whole)
    assert history == history_whole and len(history["losses"]) == 300 and len(history["validation"]) == 8
    assert all(torch.equal(best[k], best_whole[k]) for k in best_whole)
    assert all(torch.equal(last[k], last_whole[k]) for k in last_whole)
    assert sorted(p.name for p in killed.iterdir()) == ["checkpoint.pt", "history.json", "run.json"]


@pytest.mark.parametrize("name", ["run.json", "checkpoint.pt", "history.json"])
def test_what_a_killed_run_left_unfinished_is_cleared_away(name, tmp_path):
    folder = tmp_path / "run"
    assert main(["train", *SINE, "--steps", "1", "--out", str(folder)]) == 0
    (folder / f".{name}.a1b2c3").write_text("half")
    assert main(["train", *SINE, "--steps", "1", "--out", str(folder), "--resume"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint.pt", "history.json", "run.json"]


def test_resume_takes_what_is_not_said_from_the_run_and_more_steps(sine, tmp_path):
    folder, straight = tmp_path / "longer", tmp_path / "straight"
    first = ["train", *SINE, "--seed", "5", "--validate-every", "2"]
    assert main([*first, "--steps", "3", "--out", str(folder)]) == 0
    assert main(["train", "maml", "--tasks", "sinusoid", "--out", str(folder), "--resume", "--steps", "6"]) == 0
    assert main([*first, "--steps", "6", "--out", str(straight)]) == 0
    assert state(folder)[2]["losses"] == state(straight)[2]["losses"]
    assert read_config(folder)["training"]["steps"] == 6


def test_ctrl_c_saves_the_run_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    folder, sample, calls = tmp_path / "run", Sinusoids.sample, []

    def interrupted(self, n, generator):
        calls.append(n)
        if len(calls) == 6:  # one look at the validation tasks, then the fifth step
            raise KeyboardInterrupt
        return sample(self, n, generator)

    monkeypatch.setattr(Sinusoids, "sample", interrupted)
    assert main(["train", *SINE, "--steps", "9", "--validate-every", "9", "--out", str(folder)]) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("metabook: stopped") and "--resume" in error and str(folder) in error
    assert len(state(folder)[2]["losses"]) == 4
