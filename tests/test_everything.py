"""The table of every classifier and regressor: nobody is missing, and all have the same tasks, budget and seeds."""

from __future__ import annotations

import math

import pytest

from metabook import measure
from metabook.recipes import RECIPES, comparison, everything
from metabook.recipes.everything import LEFT_OUT, ONCE, PLACES, ROWS, UNTRAINED, WIDTH
from metabook.registry import SYSTEMS, build, make_tasks
from metabook.systems.entry import System

EACH = [(place, system) for place, rows in ROWS.items() for system in rows]


@pytest.mark.parametrize("place", PLACES)
def test_every_system_that_can_be_built_for_the_tasks_has_a_row_or_a_reason(place):
    tasks, missing = make_tasks(comparison.COLUMNS[place].tasks, shots=1), []
    for name in SYSTEMS.keys() - ROWS[place].keys() - LEFT_OUT.keys():
        try:
            build(name, tasks)
        except ValueError:
            continue  # not for such targets
        missing.append(name)
    assert not missing
    assert LEFT_OUT.keys() <= SYSTEMS.keys() and all(reason.strip() for reason in LEFT_OUT.values())


def test_a_new_system_is_a_new_row_and_a_system_left_out_is_none(monkeypatch):
    monkeypatch.setitem(SYSTEMS, "new", System(SYSTEMS["maml"].build, "optimization", "", "new"))
    assert "new" in everything.systems("glyphs") and "new" in everything.systems("sinusoids")
    monkeypatch.setitem(LEFT_OUT, "new", "a reason")
    assert "new" not in everything.systems("glyphs")
    assert "prototypical" not in everything.systems("sinusoids") and "cnp" not in everything.systems("glyphs")


@pytest.mark.parametrize(("place", "system"), EACH)
def test_the_rules_are_the_same_for_all(place, system):
    recipe, column = RECIPES[ROWS[place][system]], comparison.COLUMNS[place]
    assert (recipe.system, recipe.tasks, recipe.tests) == (system, column.tasks, column.tests)
    assert recipe.task_options == column.task_options
    assert recipe.seeds == ((0,) if f"{place}-{system}" in ONCE else (0, 1, 2))
    if recipe.training:
        assert recipe.training == (column.budget,) and recipe.train_options == column.train_options
    if "width" in SYSTEMS[system].options() and ROWS[place][system].startswith("everything/"):
        assert recipe.options["width"] == WIDTH[place]


def test_the_recorded_rows_of_the_table_before_are_used_again():
    again = {name for rows in ROWS.values() for name in rows.values() if name.startswith("comparison/")}
    assert again == {
        name for name in comparison.RECIPES if name.partition("-")[0].removeprefix("comparison/") in PLACES
    }
    assert {name for rows in ROWS.values() for name in rows.values()} - again == everything.RECIPES.keys()
    assert ONCE.keys() <= {name.removeprefix("everything/") for name in everything.RECIPES}


def test_what_has_weights_is_trained_and_nothing_else():
    tasks = {place: make_tasks(comparison.COLUMNS[place].tasks, shots=1) for place in PLACES}
    for place, system in EACH:
        recipe = RECIPES[ROWS[place][system]]
        learner = build(system, tasks[place], **recipe.options)
        assert any(p.requires_grad for p in learner.parameters()) == bool(recipe.training), system
    assert {system for _, system in EACH} >= UNTRAINED


@pytest.mark.parametrize("name", ["glyphs-snail", "sinusoids-conv-cnp", "sinusoids-fitted-gp"])
def test_trained_with_one_shot_it_can_be_tested_with_five(name, tmp_path):
    recipe = everything.RECIPES[f"everything/{name}"]
    tests = tuple(test._replace(episodes=2, batch=2) for test in recipe.tests)
    training = tuple({**phase, "steps": 1} for phase in recipe.training)
    tiny = recipe._replace(tests=tests, training=training, seeds=(0,))
    scores = measure.measure(name, tiny, tmp_path, device="cpu")["scores"]
    assert len(scores) == 2 and all(math.isfinite(score["mean"]) for score in scores.values())
