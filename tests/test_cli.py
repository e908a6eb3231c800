"""Every command through main(argv), and as a program of its own."""

from __future__ import annotations

import json

import pytest
import torch

import metabook
from metabook.cli import main, make_parser
from metabook.commands.results import describe, recorded
from metabook.likelihood import Classification
from metabook.recipe import Measurement, Recipe
from metabook.recipes import RECIPES
from metabook.registry import SYSTEMS
from metabook.runs import load_learner

QUICK = ["--steps", "2", "--batch", "2", "--device", "cpu"]


def out_of(capsys, *argv):
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def error_of(capsys, *argv):
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("metabook: error: ")
    return captured.err


@pytest.fixture(scope="module")
def sine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "sine"
    assert main(["train", "maml", "--tasks", "sinusoid", *QUICK, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "clusters"
    tasks = ["--tasks", "clusters", "--way", "4", "--shot", "2"]
    assert main(["train", "prototypical", *tasks, *QUICK, "--out", str(folder)]) == 0
    return folder


def test_no_command_prints_the_help_with_the_way_to_a_first_prediction(capsys):
    assert "metabook train prototypical --tasks glyphs --out runs/proto\n  metabook predict" in out_of(capsys)


@pytest.mark.parametrize("command", ["systems", "train", "evaluate", "predict", "data", "results", "benchmark"])
def test_every_help_has_examples_that_parse(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    examples = [line.split() for line in text.partition("examples:")[2].splitlines() if line.startswith("  metabook ")]
    assert examples
    for words in examples:
        assert make_parser().parse_args(words[1:]).command


def test_systems_lists_every_registered_system(capsys):
    assert list(json.loads(out_of(capsys, "systems", "--json"))) == list(SYSTEMS)
    text = out_of(capsys, "systems")
    assert all(f"{name}: {system.idea}" in text for name, system in SYSTEMS.items())
    assert "inner_lr" in text


def test_train_says_where_the_result_is_and_what_to_do_next(tmp_path, capsys):
    text = out_of(capsys, "train", "joint", "--tasks", "sinusoids", *QUICK, "--out", tmp_path / "run")
    assert f"saved in {tmp_path / 'run'}" in text and f"metabook evaluate {tmp_path / 'run'}" in text
    assert "metabook predict" not in text  # predict is for images


def test_train_without_out_writes_into_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out_of(capsys, "train", "joint", "--tasks", "sinusoids", *QUICK)
    assert (tmp_path / "runs" / "joint-sinusoids" / "checkpoint.pt").exists()


def test_train_refuses_a_folder_with_a_run_and_leaves_it_alone(sine, capsys):
    before = {p: p.read_bytes() for p in sine.iterdir()}
    error = error_of(capsys, "train", "maml", "--tasks", "sinusoids", *QUICK, "--out", sine)
    assert "--out:" in error and "--resume" in error and str(sine) in error
    assert {p: p.read_bytes() for p in sine.iterdir()} == before


def test_resume_with_other_settings_names_each_of_them(sine, capsys):
    before = (sine / "run.json").read_bytes()
    argv = ["train", "maml", "--tasks", "sinusoids", "--resume", "--out", sine]
    error = error_of(capsys, *argv, "--lr", "0.5", "--shot", "9", "--seed", "4", "--set", "inner_steps=3")
    for part in ("lr was 0.001, now 0.5", "shots was 5, now 9", "seed was 0, now 4", "inner_steps was 1, now 3"):
        assert part in error
    assert "system was maml, now joint" in error_of(capsys, "train", "joint", *argv[2:])
    assert (sine / "run.json").read_bytes() == before


def test_resume_of_nothing_is_refused(tmp_path, capsys):
    error = error_of(capsys, "train", "maml", "--tasks", "sinusoids", "--resume", "--out", tmp_path / "none")
    assert "--resume: no run in" in error and not (tmp_path / "none").exists()


def test_evaluate_prints_every_score_with_its_interval(sine, capsys):
    lines = out_of(capsys, "evaluate", sine, "--episodes", "20").splitlines()
    assert lines[0].startswith("maml on sinusoids")
    assert [line.split()[0] for line in lines[3:]] == ["mse", "nll"]
    assert all("±" in line and line.endswith("20") for line in lines[3:])


def test_evaluate_is_the_same_twice_and_another_seed_is_not(sine, capsys):
    first, again, other = (
        json.loads(out_of(capsys, "evaluate", sine, "--episodes", "10", "--seed", seed, "--json")) for seed in (3, 3, 4)
    )
    assert first == again and first["scores"]["mse"]["mean"] != other["scores"]["mse"]["mean"]
    assert first["scores"]["mse"]["n"] == 10 and first["task_options"]["shots"] == 5


def test_evaluate_with_set_changes_the_adaptation(sine, capsys):
    one, ten = (
        json.loads(out_of(capsys, "evaluate", sine, "--episodes", "10", "--set", f"inner_steps={n}", "--json"))
        for n in (1, 10)
    )
    assert one["scores"]["mse"]["mean"] != ten["scores"]["mse"]["mean"]
    assert ten["options"]["inner_steps"] == 10


def test_evaluate_keeps_the_ways_of_the_run_unless_told(clusters, capsys):
    own = json.loads(out_of(capsys, "evaluate", clusters, "--episodes", "5", "--json"))
    more = json.loads(out_of(capsys, "evaluate", clusters, "--episodes", "5", "--way", "9", "--json"))
    assert (own["task_options"]["way"], more["task_options"]["way"], more["task_options"]["shots"]) == (4, 9, 2)


def test_a_system_without_parameters_needs_no_run(capsys):
    scores = json.loads(
        out_of(capsys, "evaluate", "nearest-pixels", "--tasks", "clusters", "--episodes", "50", "--json")
    )
    assert 0.5 < scores["scores"]["accuracy"]["mean"] <= 1
    assert "maml needs training first" in error_of(capsys, "evaluate", "maml", "--tasks", "clusters")
    assert "--tasks: needed" in error_of(capsys, "evaluate", "nearest-pixels")


def test_results_as_json_and_as_text(capsys):
    results = json.loads(out_of(capsys, "results", "--json"))
    text = out_of(capsys, "results")
    for name, result in results.items():
        assert f"({name})" in text and result["command"] in text
        assert all(p["source"] in text for p in result["published"])


def test_results_of_some_names_with_every_seed(capsys):
    result = recorded()["sinusoid-maml"]
    text = out_of(capsys, "results", "sinusoid-maml")
    assert describe("sinusoid-maml") in text and text.count("python -m metabook.record") == 1
    for part in result["repeats"]:
        assert all(f"{score['mean']:.4g}" in text for score in part["scores"].values())
    assert list(json.loads(out_of(capsys, "results", "glyphs-maml", "--json"))) == ["glyphs-maml"]
    row = "comparison/sinusoids-maml"
    assert f"python -m metabook.record {row}" in out_of(capsys, "results", row) and row in out_of(capsys, "results")
    assert "results: 'sinusoid-mal' given" in error_of(capsys, "results", "sinusoid-mal")


def test_a_bug_keeps_its_traceback(monkeypatch):
    from metabook.commands import systems

    for bug in (RuntimeError("tensor: sizes differ"), ValueError("not enough values to unpack"), KeyError("k: v")):

        def broken(args, bug=bug):
            raise bug

        monkeypatch.setattr(systems, "run", broken)
        with pytest.raises(type(bug)):
            main(["systems"])


def test_only_our_own_checks_are_shown_as_one_line(monkeypatch, capsys):
    from metabook.commands import systems

    monkeypatch.setattr(systems, "run", lambda args: torch.eye(2).reshape(3, 2).sum())
    with pytest.raises(RuntimeError):
        main(["systems"])
    monkeypatch.setattr(systems, "run", lambda args: torch.distributions.Normal(0.0, -1.0))  # its ValueError is a bug
    with pytest.raises(ValueError, match="Expected parameter scale"):
        main(["systems"])
    monkeypatch.setattr(systems, "run", lambda args: Classification(0))
    assert "n_way: 0 given" in error_of(capsys, "systems")


def test_data_list_says_where_every_file_is_or_belongs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METABOOK_DATA", str(tmp_path))
    monkeypatch.setenv("METABOOK_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "omniglot" / "images_background_small1.zip"
    place.parent.mkdir()
    place.write_bytes(b"")
    rows = json.loads(out_of(capsys, "data", "list", "--json"))
    assert {name: row["here"] for name, row in rows.items()} == {
        "glyphs": True,
        "omniglot-background": False,
        "omniglot-evaluation": False,
        "omniglot-small1": True,
        "omniglot-small2": False,
        "omniglot-challenge": False,
    }
    assert rows["omniglot-small1"]["file"] == str(place)
    text = out_of(capsys, "data", "list")
    assert f"not here; its place is {tmp_path / 'omniglot' / 'images_background_small2.zip'}" in text


def test_data_fetch_of_the_glyphs_has_nothing_to_do(capsys):
    assert "comes with the package" in out_of(capsys, "data", "fetch", "glyphs")


def test_a_recipe_makes_a_run_like_any_other(tmp_path, monkeypatch, capsys):
    """Two phases from the command line give the weights of two calls of train; the run is scored, and resumed."""
    phases = ({"steps": 3, "batch": 2}, {"steps": 2, "batch": 2, "lr": 1e-4})
    tiny = Recipe(
        "tiny",
        "prototypical",
        "clusters",
        (Measurement("accuracy"),),
        training=phases,
        task_options={"shots": 2},
        train_options={"way": 7},
    )
    monkeypatch.setitem(RECIPES, "tiny", tiny)
    command = ["train", "--recipe", "tiny", "--seed", "3", "--device", "cpu", "--out", tmp_path / "run"]
    assert f"test it:   metabook evaluate {tmp_path / 'run'}" in out_of(capsys, *command)
    tasks = metabook.make_tasks("clusters", shots=2, way=7)
    learner = metabook.build("prototypical", tasks, seed=3)
    for i, phase in enumerate(phases):
        metabook.train(learner, tasks, seed=3 + 1000 * i, device="cpu", progress="none", **phase)
    made = load_learner(tmp_path / "run").state_dict()
    assert all(torch.equal(made[name], value) for name, value in learner.state_dict().items())
    shown = json.loads(out_of(capsys, "evaluate", tmp_path / "run", "--episodes", "20", "--json", "--device", "cpu"))
    assert shown["task_options"] == {"shots": 2} and shown["scores"]["accuracy"]["n"] == 20
    assert "not empty; add --resume" in error_of(capsys, *command)
    assert "done in" in out_of(capsys, *command, "--resume")
    again = ["train", "prototypical", "--tasks", "clusters", "--resume", "--out", tmp_path / "run"]
    assert "was made by --recipe tiny; give that again" in error_of(capsys, *again)


def test_views_are_averaged(capsys):
    """On distorted copies of its images the nearest mean of pixels answers otherwise, and every task is scored."""
    command = ["evaluate", "nearest-pixels", "--tasks", "glyphs", "--episodes", "20", "--json", "--device", "cpu"]
    plain, views = (json.loads(out_of(capsys, *command, *more)) for more in ((), ("--views", "4")))
    assert (plain["views"], views["views"]) == (None, 4)
    assert plain["scores"]["accuracy"]["n"] == views["scores"]["accuracy"]["n"] == 20
    assert plain["scores"]["nll"] != views["scores"]["nll"]


def test_the_best_views_are_found(capsys):
    """The nearest mean of pixels is a prototypical network; the best of four views of each is another answer."""
    command = ["evaluate", "nearest-pixels", "--tasks", "glyphs", "--episodes", "20", "--json", "--device", "cpu"]
    plain, best = (json.loads(out_of(capsys, *command, *more)) for more in ((), ("--best-views", "4")))
    assert (plain["best_views"], best["best_views"]) == (None, 4)
    assert plain["scores"]["nll"] != best["scores"]["nll"]


def test_practice_on_each_task(tmp_path, capsys):
    """With some steps on its own support images the same run answers otherwise on the same tasks."""
    run = tmp_path / "run"
    tiny = ["--steps", "1", "--batch", "1", "--set", "width=4", "--way", "3", "--queries", "2", "--device", "cpu"]
    out_of(capsys, "train", "prototypical", "--tasks", "glyphs", *tiny, "--out", run)
    command = ["evaluate", run, "--episodes", "5", "--json", "--device", "cpu"]
    plain, practised = (json.loads(out_of(capsys, *command, *more)) for more in ((), ("--fine-tune", "2")))
    assert (plain["fine_tune"], practised["fine_tune"]) == (None, 2)
    assert plain["scores"]["nll"] != practised["scores"]["nll"]
