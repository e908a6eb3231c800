"""Recorded results: every file is whole, says how it was made, and its recipe can be carried out."""

from __future__ import annotations

import json
import math
import shutil

import pytest

import metabook
from metabook import measure, record
from metabook.metric import BestView
from metabook.recipe import Measurement, Published, Recipe
from metabook.recipes import RECIPES, training
from metabook.registry import TASKS, find_system
from metabook.scores import ScoredBy
from metabook.tasks.distort import MILD
from metabook.views import Views

FILES = sorted(record.RESULTS.rglob("*.json"))
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
            assert math.isfinite(score["mean"])
            if score["n"] == 1:  # a number that was fitted once, on all tasks together
                assert score["interval"] is None
            else:
                assert score["n"] >= 2 and score["interval"] >= 0
    for row in result["published"]:
        assert row.keys() == {"system", "value", "source", "differs"} and all(row.values())


def test_there_are_results():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(record.RESULTS).with_suffix("").as_posix())
def test_every_file_is_whole_and_its_recipe_is_unchanged(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    check(result)
    name = path.relative_to(record.RESULTS).with_suffix("").as_posix()
    assert result["command"] == f"python -m metabook.record {name}"
    recipe = RECIPES[name]
    settings = json.loads(json.dumps(recipe.settings()))
    assert {k: result["settings"][k] for k in settings} == settings, "recorded with other settings: record it again"
    assert (result["title"], result["system"], result["tasks"]) == (recipe.title, recipe.system, recipe.tasks)
    assert [result["seed"], *(r["seed"] for r in result["repeats"])] == list(recipe.seeds)
    assert list(result["scores"]) == [test.label for test in recipe.tests]
    assert result["published"] == [row._asdict() for row in recipe.published]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_systems_tasks_and_options_that_exist(name):
    recipe = RECIPES[name]
    system, tasks = find_system(recipe.system).options(), TASKS[recipe.tasks].options()
    changed = (change for _, change in recipe.phases())
    assert system.keys() >= set(recipe.options).union(*(t.options for t in recipe.tests), *changed)
    assert tasks.keys() >= set(recipe.task_options | recipe.train_options)
    for test in recipe.tests:
        assert TASKS[test.tasks or recipe.tasks].options().keys() >= set(test.task_options)
        assert test.score in (None, *measure.KNOWN, *measure.NAMES)
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


def test_views_of_a_measurement_are_averaged(tmp_path):
    """With four copies the nearest mean of pixels gets another score on the same tasks, and the file says how many."""
    tests = (
        Measurement("plain", {"way": 3, "queries": 2}, episodes=20),
        Measurement("views", {"way": 3, "queries": 2}, episodes=20, at_test={"views": 4}),
        Measurement("best", {"way": 3, "queries": 2}, episodes=20, at_test={"best_views": 4}),
    )
    result = measure.measure("pixels", Recipe("pixels", "nearest-pixels", "glyphs", tests), tmp_path, device="cpu")
    assert result["settings"]["tests"]["views"] == {"way": 3, "queries": 2, "views": 4, "episodes": 20}
    assert "views" not in result["settings"]["tests"]["plain"]
    plain, views, best = (score["mean"] for score in result["scores"].values())
    tasks = metabook.make_tasks("glyphs", part="test", way=3, queries=2)
    learner = Views(metabook.build("nearest-pixels", tasks), MILD, copies=4)
    again = metabook.evaluate(learner, tasks, episodes=20, seed=measure.TEST_SEED, device="cpu")
    assert again["accuracy"].mean == views != plain
    learner = BestView(metabook.build("nearest-pixels", tasks), MILD, copies=4)
    again = metabook.evaluate(learner, tasks, episodes=20, seed=measure.TEST_SEED, device="cpu")
    assert again["accuracy"].mean == best != views


def test_a_measurement_may_have_another_score(tmp_path):
    """How true distorted copies are, as the judge says of the same tasks asked directly; an unknown score is named."""
    options = {"way": 3, "queries": 2}
    test = Measurement("true", options, {"copies": 4}, episodes=20, score="quality")
    recipe = Recipe("copies", "nearest-copy", "glyphs", (test,), task_options={"distort": True})
    result = measure.measure("copies", recipe, tmp_path, device="cpu")
    assert result["settings"]["tests"]["true"] == {**options, "copies": 4, "score": "quality", "episodes": 20}
    tasks = metabook.make_tasks("glyphs", part="test", **options)
    asked = ScoredBy(tasks, ["quality"], known=measure.KNOWN)
    again = metabook.evaluate(
        metabook.build("nearest-copy", tasks, copies=4), asked, episodes=20, seed=measure.TEST_SEED, device="cpu"
    )
    assert again["quality"].mean == result["scores"]["true"]["mean"]
    with pytest.raises(ValueError, match="score: 'beauty' given; allowed are log-likelihood, "):
        measure.measure("copies", recipe._replace(tests=(test._replace(score="beauty"),)), tmp_path, device="cpu")


def test_a_measurement_may_be_of_another_family(tmp_path):
    """Trained on nothing, scored on clusters of the plane in place of letters; options of the letters stay there."""
    test = Measurement("other", {"way": 2, "queries": 2}, tasks="clusters", episodes=20)
    recipe = Recipe("pixels", "nearest-pixels", "glyphs", (test,), task_options={"way": 3, "within_alphabet": True})
    result = measure.measure("pixels", recipe, tmp_path, device="cpu")
    assert result["settings"]["tests"]["other"] == {"tasks": "clusters", "way": 2, "queries": 2, "episodes": 20}
    tasks = metabook.make_tasks("clusters", part="test", way=2, queries=2)
    again = metabook.evaluate(
        metabook.build("nearest-pixels", tasks), tasks, episodes=20, seed=measure.TEST_SEED, device="cpu"
    )
    assert again["accuracy"].mean == result["scores"]["other"]["mean"]


def test_a_measurement_may_ask_for_a_score_and_alike_ones_share_a_pass(tmp_path, monkeypatch):
    """Four numbers, of which two are alike: three passes. Each is the score of its name on the tasks of its options."""
    passes, original = [], measure.evaluate
    monkeypatch.setattr(measure, "evaluate", lambda *a, **o: passes.append(1) or original(*a, **o))
    moved = {"x_range": (2.0, 6.0)}
    tests = (
        Measurement("ll", {"queries": 5}, episodes=6, batch=1, score="log-likelihood"),
        Measurement("mse", {"queries": 5}, episodes=6, batch=1),
        Measurement("moved", {"queries": 5, **moved}, episodes=6, batch=1, score="log-likelihood"),
        Measurement("inside", {"queries": 5}, episodes=6, batch=1, score="coverage"),
    )
    result = measure.measure("gp", Recipe("gp", "exact-gp", "gp", tests), tmp_path, device="cpu")
    assert len(passes) == 3 and list(result["scores"]) == ["ll", "mse", "moved", "inside"]
    assert result["settings"]["tests"]["inside"]["score"] == "coverage"
    assert "score" not in result["settings"]["tests"]["mse"]
    expected = (("ll", {}, "log-likelihood"), ("moved", moved, "log-likelihood"), ("mse", {}, "mse"))
    for label, options, name in (*expected, ("inside", {}, "coverage")):
        tasks = metabook.make_tasks("gp", part="test", queries=5, **options)
        scored = tasks if name == "mse" else ScoredBy(tasks, [name])
        learner = metabook.build("exact-gp", tasks)
        again = metabook.evaluate(learner, scored, episodes=6, batch=1, seed=measure.TEST_SEED, device="cpu")
        assert again[name].mean == result["scores"][label]["mean"]


def test_phases_and_seeds_by_hand(tiny, tmp_path, capsys):
    result = measure.measure("tiny", TINY, tmp_path, device="cpu")
    train, new, held = (metabook.make_tasks("sinusoids", shots=5, queries=q) for q in (10, 20, 15))
    for seed, part in enumerate([result, *result["repeats"]]):
        learner = metabook.build("maml", train, seed=seed)
        for i, phase in enumerate(TINY.training):
            kept = metabook.train(learner, train, validation=held, seed=seed + 1000 * i, device="cpu", **phase)
            written = json.loads((tmp_path / f"seed-{seed}" / f"phase-{i}" / "history.json").read_text())
            assert written["losses"] == kept.losses and written["validation"] == kept.validation != []
        score = metabook.evaluate(learner, new, episodes=30, seed=measure.TEST_SEED + seed, device="cpu")["mse"]
        assert part["scores"]["mse, 1 step"]["mean"] == pytest.approx(score.mean, rel=1e-12)


def test_options_that_change_between_phases_stay_changed_and_the_score_is_by_the_recipes_own(tmp_path):
    changes = ({}, {"inner_steps": 2}, {"inner_lr": 0.05}, {})
    phases = tuple({"steps": 3, "batch": 4, "options": change} for change in changes)
    result = measure.measure(
        "tiny", TINY._replace(training=phases, validated=False, seeds=(0,)), tmp_path, device="cpu"
    )
    train, new = (metabook.make_tasks("sinusoids", shots=5, queries=q) for q in (10, 20))
    learner = metabook.build("maml", train, seed=0)
    for i, change in enumerate(changes):
        vars(learner).update(change)
        metabook.train(learner, train, steps=3, batch=4, seed=1000 * i, device="cpu")
    learner.inner_steps, learner.inner_lr = 1, 0.01
    score = metabook.evaluate(learner, new, episodes=30, seed=measure.TEST_SEED, device="cpu")["mse"]
    assert result["scores"]["mse, 1 step"]["mean"] == pytest.approx(score.mean, rel=1e-12)


def test_minutes_are_those_of_all_phases_of_the_first_seed(tiny, tmp_path, monkeypatch):
    seconds = iter((60.0, 30.0, 600.0, 6.0))
    monkeypatch.setattr(training, "train", lambda *args, **options: metabook.History(seconds=next(seconds)))
    result = measure.measure("tiny", TINY, tmp_path, device="cpu")
    assert result["minutes"] == 1.5 and result["repeats"][0]["minutes"] == 10.1


def test_a_stopped_record_goes_on_and_gives_the_same_numbers(tiny, tmp_path, capsys):
    whole = measure.measure("tiny", TINY, tmp_path, device="cpu")
    shutil.rmtree(tmp_path / "seed-1")
    shutil.rmtree(tmp_path / "seed-0" / "phase-1")
    capsys.readouterr()
    again = measure.measure("tiny", TINY, tmp_path, device="cpu")
    assert "of 20" in capsys.readouterr().out, "the second seed was trained again"
    for result in (whole, again):
        for part in (result, *result["repeats"]):
            part.pop("minutes")
    assert again == whole


def test_a_system_without_meta_parameters_is_scored_untrained(tmp_path):
    recipe = Recipe("t", "nearest-pixels", "clusters", (Measurement("accuracy", episodes=20),))
    result = measure.measure("t", recipe, tmp_path, device="cpu")
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


@pytest.fixture
def table(monkeypatch):
    """A table of two untrained experiments, and one of them at full scale."""
    rows = {
        "table/a": Recipe("a", "nearest-pixels", "clusters", (Measurement("accuracy", episodes=20),)),
        "table/b": Recipe("b", "nearest-pixels", "clusters", (Measurement("accuracy", episodes=30),)),
        "table-full/a": Recipe("a", "nearest-pixels", "clusters", (Measurement("accuracy", episodes=40),)),
    }
    for name, recipe in rows.items():
        monkeypatch.setitem(record.RECIPES, name, recipe)


def count(folder):
    files = sorted(folder.rglob("*.json"))
    return {p.relative_to(folder).as_posix(): json.loads(p.read_text())["scores"]["accuracy"]["n"] for p in files}


def test_a_table_is_all_its_experiments_and_a_second_run_makes_what_is_missing(table, tmp_path, capsys):
    command = ["table", "--results", str(tmp_path), "--device", "cpu"]
    assert record.main(command) == 0
    assert count(tmp_path) == {"table/a.json": 20, "table/b.json": 30}
    (tmp_path / "table/b.json").unlink()
    capsys.readouterr()
    assert record.main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'table/b.json'}\n"


def test_a_table_at_full_scale_is_another_table(table, tmp_path):
    assert record.main(["table", "--scale", "full", "--results", str(tmp_path), "--device", "cpu"]) == 0
    assert count(tmp_path) == {"table-full/a.json": 40}


def test_an_experiment_recorded_with_other_settings_is_made_again(table, tmp_path, monkeypatch):
    command = ["table", "--results", str(tmp_path), "--device", "cpu"]
    assert record.main(command) == 0
    changed = record.RECIPES["table/a"]._replace(tests=(Measurement("accuracy", episodes=25),))
    monkeypatch.setitem(record.RECIPES, "table/a", changed)
    assert record.main(command) == 0
    assert count(tmp_path)["table/a.json"] == 25


def test_a_file_that_lacks_seeds_is_completed_and_keeps_what_it_has(tiny, tmp_path, monkeypatch, capsys):
    """The mark in the first seed's minutes stays when a seed is added, and goes when its settings or torch are not."""
    places = {"results": tmp_path / "results", "folder": tmp_path / "runs", "device": "cpu"}

    def again(seeds, **changes):
        path = tmp_path / "results" / "tiny.json"
        marked = json.loads(path.read_text()) | {"minutes": 123.0}
        path.write_text(json.dumps(marked | {k: v for k, v in changes.items() if k in marked}))
        monkeypatch.setitem(record.RECIPES, "tiny", TINY._replace(seeds=seeds))
        assert record._is_whole("tiny", places["results"]) is (len(marked["repeats"]) + 1 == len(seeds))
        return json.loads(record.record("tiny", **places).read_text())

    whole = json.loads(record.record("tiny", **places).read_text())
    completed = again((0, 1, 2))
    assert completed["minutes"] == 123.0 and completed["repeats"][:1] == whole["repeats"]
    assert [run["seed"] for run in completed["repeats"]] == [1, 2]
    assert again((0, 1, 2))["minutes"] < 123, "a whole file is made again"
    assert again((0, 1, 2, 3), torch="1.0")["minutes"] < 123
    assert again((0, 1, 2, 3, 4), device="abacus")["minutes"] < 123


def test_two_at_a_time_each_on_one_thread_and_a_failure_stops_no_other(tmp_path, capsys):
    """The processes know the real list only, so one experiment is a real one without training, the other not there."""
    names = ["comparison/glyphs-nearest-pixels", "comparison/nonsense"]
    results = tmp_path / "results"
    assert record._in_parallel(names, ["--results", str(results), "--device", "cpu"], 2) == 1
    out = capsys.readouterr().out
    assert "2 experiments, 2 at a time" in out and "glyphs-nearest-pixels: done" in out
    assert "nonsense: FAILED: metabook.record: error: record: 'comparison/nonsense' given" in out
    result = json.loads((results / "comparison/glyphs-nearest-pixels.json").read_text())
    assert result["device"] == "cpu, 1 thread"


def test_no_jobs_is_one_line(capsys):
    assert record.main(["comparison", "--jobs", "0"]) == 2
    assert capsys.readouterr().err == "metabook.record: error: jobs: 0 given; at least 1 is needed\n"
