"""Training on one family of tasks, then on another, then on the first again."""

import json

import pytest
import torch

import metabook
from metabook import continual
from metabook.continual import continue_training, follow, main, record_continual
from metabook.measure import TEST_SEED
from metabook.recipe import Measurement, Recipe
from metabook.recipes import RECIPES
from metabook.recipes import continual as recipes
from metabook.recipes.continual import Continuation, continuation
from metabook.recipes.training import PHASE_SEED
from metabook.record import RESULTS
from metabook.registry import build, make_tasks

TRAINING = {"batch": 2, "lr": 1e-2}
PLAN = Continuation("clusters", TRAINING, away=(1, 3), back=(2,))
TINY = Recipe(
    "tiny",
    "prototypical",
    "clusters",
    (
        Measurement("letters", {"queries": 2}, episodes=20, batch=10),
        Measurement("digits", {"shots": 2}, tasks="clusters", episodes=20, batch=10),
    ),
    training=({"steps": 2, "batch": 2},),
    task_options={"spread": 0.5},
    train_options={"queries": 3},
    seeds=(0, 1),
)
FILES = sorted((RESULTS / "continual").glob("*.json"))


def learner(seed=0):
    return build("prototypical", make_tasks("clusters"), seed=seed)


def weights(learner):
    return torch.cat([p.detach().flatten() for p in learner.parameters()])


def test_stopping_to_measure_changes_nothing():
    """Five steps with two stops are five steps: the optimiser's state and the draws go on."""
    stopped, whole, tasks = learner(), learner(), make_tasks("clusters", queries=3)
    curve = follow(stopped, tasks, TINY, PLAN, (1, 3, 5), seed=4, phase=2, device="cpu")
    seed = 4 + 2 * PHASE_SEED
    metabook.train(whole, tasks, steps=5, seed=seed, device="cpu", progress="none", **TRAINING)
    assert torch.equal(weights(stopped), weights(whole)) and not torch.equal(weights(whole), weights(learner()))
    assert [steps for steps, _ in curve] == [0, 1, 3, 5]
    test = make_tasks("clusters", part="test", spread=0.5, queries=2)
    again = metabook.evaluate(whole, test, episodes=20, batch=10, seed=TEST_SEED + 4, device="cpu")
    assert torch.equal(again["accuracy"].values, curve[-1][1]["letters"].values)


def test_every_curve_trains_on_its_own_tasks_from_its_own_start(monkeypatch):
    parts = []

    def noted(*args, part, **options):
        parts.append(part)
        return make_tasks(*args, part=part, **options)

    monkeypatch.setattr(continual, "make_tasks", noted)
    trained, first = learner(), make_tasks("clusters", spread=0.5, queries=3)
    metabook.train(trained, first, steps=2, batch=2, device="cpu", progress="none")
    before, second = weights(trained), make_tasks("clusters", queries=3)
    curves = continue_training(trained, TINY, PLAN, seed=1, device="cpu")
    assert parts == ["train"] * 2 + ["test"] * (2 * 3 + 2 * 2 + 3 + 3)
    assert torch.equal(weights(trained), before), "the learner stays as it is"

    def by_hand(start, *phases):
        for phase, (tasks, steps) in phases:
            options = {"seed": 1 + phase * PHASE_SEED, "device": "cpu", "progress": "none"}
            metabook.train(start, tasks, steps=steps, **options, **TRAINING)
        tests = {
            "letters": make_tasks("clusters", spread=0.5, queries=2),
            "digits": make_tasks("clusters", shots=2),
        }
        options = {"episodes": 20, "batch": 10, "seed": TEST_SEED + 1, "device": "cpu"}
        return {name: metabook.evaluate(start, tasks, **options)["accuracy"] for name, tasks in tests.items()}

    def again():
        start = learner()
        start.load_state_dict(trained.state_dict())
        return start

    start = by_hand(again())
    ends = {
        "away": by_hand(again(), (1, (second, 3))),
        "back": by_hand(again(), (1, (second, 3)), (2, (first, 2))),
        "fresh": by_hand(learner(1), (1, (second, 3))),
        "stay": by_hand(again(), (1, (first, 3))),
    }
    shown = {"away": ("letters", "digits"), "back": ("letters", "digits"), "fresh": ("digits",), "stay": ("letters",)}
    assert curves.keys() == shown.keys()
    for name, curve in curves.items():
        point = curve[-1]
        assert point.keys() == {"steps", "change", *shown[name]} and point["change"].keys() == set(shown[name])
        for label in shown[name]:
            assert point[label]["mean"] == pytest.approx(ends[name][label].mean, abs=1e-12)
            change = ends[name][label].difference(start[label])
            assert point["change"][label]["mean"] == pytest.approx(change.mean, abs=1e-12)
            assert point["change"][label]["interval"] == pytest.approx(change.interval, abs=1e-12)
    assert [p["steps"] for p in curves["away"]] == [0, 1, 3] and [p["steps"] for p in curves["back"]] == [0, 2]
    assert {c[-1]["change"].get("letters", {"mean": 0.0})["mean"] for c in curves.values()} != {0.0}


def test_a_record_has_the_scores_and_the_curves_of_every_seed(tmp_path, monkeypatch):
    for known in (RECIPES, recipes.RECIPES):
        monkeypatch.setitem(known, "continual/tiny", TINY)
    monkeypatch.setattr(continual, "continuation", lambda recipe: PLAN)
    path = record_continual("continual/tiny", results=tmp_path, folder=tmp_path / "runs", device="cpu")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert path == tmp_path / "continual" / "tiny.json" and [c["seed"] for c in result["curves"]] == [0, 1]
    assert result["continuation"] == PLAN.settings()
    for run, curves in zip((result, *result["repeats"]), result["curves"], strict=True):
        for label in ("letters", "digits"):
            assert curves["away"][0][label] == run["scores"][label], "the curve begins where the record ends"
    assert result["curves"][0]["away"][-1] != result["curves"][1]["away"][-1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_curves_are_of_the_present_plan(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    recipe = RECIPES[f"continual/{path.stem}"]
    plan = continuation(recipe)
    assert result["continuation"] == json.loads(json.dumps(plan.settings()))
    assert [curves["seed"] for curves in result["curves"]] == list(recipe.seeds)
    for curves in result["curves"]:
        steps = {name: tuple(p["steps"] for p in curves[name]) for name in ("away", "back", "fresh", "stay")}
        away = (0, *plan.away)
        assert steps == {"away": away, "back": (0, *plan.back), "fresh": away, "stay": away}


@pytest.mark.parametrize(("name", "second"), [("continual/glyphs", "digits"), ("continual-omniglot/", "mnist")])
def test_what_follows_are_the_tasks_of_the_second_test(name, second):
    found = {continuation(recipe).tasks for known, recipe in RECIPES.items() if known.startswith(name)}
    assert found == {second}


def test_an_unknown_experiment_is_one_line(capsys):
    assert main(["continual/chess"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "experiment: 'continual/chess' given" in error
