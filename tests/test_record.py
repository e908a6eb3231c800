"""Recorded results: every file is whole, says how it was made, and its recipe can be carried out."""

from __future__ import annotations

import json
import math
import shutil

import pytest

import metabook
from metabook import record
from metabook.recipe import Measurement, Published, Recipe
from metabook.recipes import RECIPES
from metabook.registry import SYSTEMS, TASKS

FILES = sorted(record.RESULTS.glob("*.json"))
FIELDS = {
    "title": str,
    "system": str,
    "tasks": str,
    "command": str,
    "seed": int,
    "device": str,
    "torch": str,
    "python": str,
    "date": str,
    "minutes": (int, float),
    "settings": dict,
    "scores": dict,
    "repeats": list,
    "published": list,
}
TINY = Recipe(
    "tiny",
    "maml",
    "sinusoids",
    (
        Measurement("mse, 0 steps", {"queries": 20}, {"inner_steps": 0}, episodes=30),
        Measurement("mse, 1 step", {"queries": 20}, episodes=30),
    ),
    training=({"steps": 20, "batch": 4}, {"steps": 10, "batch": 4, "lr": 1e-4}),
    task_options={"shots": 5},
    train_options={"queries": 10},
    validated=True,
    seeds=(0, 1),
    published=(Published("MAML", "0.7", "a paper", "everything"),),
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(record.RECIPES, "tiny", TINY)


def check(result: dict) -> None:
    for name, kind in FIELDS.items():
        assert isinstance(result[name], kind), name
    assert result["scores"]
    for scores in [result["scores"]] + [r["scores"] for r in result["repeats"]]:
        assert scores.keys() == result["scores"].keys()
        for score in scores.values():
            assert score["n"] >= 2 and math.isfinite(score["mean"]) and score["interval"] >= 0
    for row in result["published"]:
        assert row.keys() == {"system", "value", "source", "differs"} and all(row.values())


def test_there_are_results():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_file_is_whole_and_its_recipe_is_unchanged(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    check(result)
    assert result["command"] == f"python -m metabook.record {path.stem}"
    recipe = RECIPES[path.stem]
    settings = json.loads(json.dumps(recipe.settings()))
    assert {k: result["settings"][k] for k in settings} == settings, "recorded with other settings: record it again"
    assert (result["title"], result["system"], result["tasks"]) == (recipe.title, recipe.system, recipe.tasks)
    assert [result["seed"], *(r["seed"] for r in result["repeats"])] == list(recipe.seeds)
    assert list(result["scores"]) == [test.label for test in recipe.tests]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_systems_tasks_and_options_that_exist(name):
    recipe = RECIPES[name]
    system, tasks = SYSTEMS[recipe.system].options(), TASKS[recipe.tasks].options()
    assert system.keys() >= set(recipe.options).union(*(t.options for t in recipe.tests))
    assert tasks.keys() >= set(recipe.task_options | recipe.train_options).union(
        *(t.task_options for t in recipe.tests)
    )
    labels = [test.label for test in recipe.tests]
    assert len(set(labels)) == len(labels)


def test_a_record_trains_scores_and_writes_whole(tiny, tmp_path, capsys):
    path = record.record("tiny", results=tmp_path / "results", folder=tmp_path / "runs", device="cpu")
    assert path == tmp_path / "results" / "tiny.json"
    assert [p.name for p in path.parent.iterdir()] == ["tiny.json"]
    result = json.loads(path.read_text(encoding="utf-8"))
    check(result)
    assert result["seed"] == 0 and [r["seed"] for r in result["repeats"]] == [1]
    assert result["settings"]["transductive"] is False
    before, after = result["scores"]["mse, 0 steps"], result["scores"]["mse, 1 step"]
    assert before["n"] == 30 and before["mean"] != after["mean"], "the options of a measurement reach the system"
    other = result["repeats"][0]["scores"]["mse, 1 step"]
    assert other["mean"] != after["mean"], "another seed is another training and other test tasks"


def test_phases_and_seeds_by_hand(tiny, tmp_path, capsys):
    result = record.measure("tiny", TINY, tmp_path, device="cpu")
    train, new, held = (metabook.make_tasks("sinusoids", shots=5, queries=q) for q in (10, 20, 15))
    for seed, part in enumerate([result, *result["repeats"]]):
        learner = metabook.build("maml", train, seed=seed)
        for i, phase in enumerate(TINY.training):
            kept = metabook.train(learner, train, validation=held, seed=seed + 1000 * i, device="cpu", **phase)
            written = json.loads((tmp_path / f"seed-{seed}" / f"phase-{i}" / "history.json").read_text())
            assert written["losses"] == kept.losses and written["validation"] == kept.validation != []
        score = metabook.evaluate(learner, new, episodes=30, seed=record.TEST_SEED + seed, device="cpu")["mse"]
        assert part["scores"]["mse, 1 step"]["mean"] == pytest.approx(score.mean, rel=1e-12)


def test_minutes_are_those_of_all_phases_of_the_first_seed(tiny, tmp_path, monkeypatch):
    seconds = iter((60.0, 30.0, 600.0, 6.0))
    monkeypatch.setattr(record, "train", lambda *args, **options: metabook.History(seconds=next(seconds)))
    result = record.measure("tiny", TINY, tmp_path, device="cpu")
    assert result["minutes"] == 1.5 and result["repeats"][0]["minutes"] == 10.1


def test_a_stopped_record_goes_on_and_gives_the_same_numbers(tiny, tmp_path, capsys):
    whole = record.measure("tiny", TINY, tmp_path, device="cpu")
    shutil.rmtree(tmp_path / "seed-1")
    shutil.rmtree(tmp_path / "seed-0" / "phase-1")
    capsys.readouterr()
    again = record.measure("tiny", TINY, tmp_path, device="cpu")
    assert "of 20" in capsys.readouterr().out, "the second seed was trained again"
    for result in (whole, again):
        for part in (result, *result["repeats"]):
            part.pop("minutes")
    assert again == whole


def test_a_system_without_meta_parameters_is_scored_untrained(tmp_path):
    recipe = Recipe("t", "nearest-pixels", "clusters", (Measurement("accuracy", episodes=20),))
    result = record.measure("t", recipe, tmp_path, device="cpu")
    assert result["minutes"] == 0 and result["scores"]["accuracy"]["mean"] > 0.3


def test_unknown_names_and_places_are_one_line(tiny, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"record: 'tinny' given.*did you mean tiny"):
        record.record("tinny", results=tmp_path)
    assert record.main(["tinny", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "tinny" in error and "did you mean tiny?" in error
    (tmp_path / "file").write_text("")
    assert record.main(["tiny", "--results", str(tmp_path / "file"), "--folder", str(tmp_path / "r")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.glob("**/*.json.*"))
