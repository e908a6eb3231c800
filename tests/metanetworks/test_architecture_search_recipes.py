"""The table of the architecture search: what its rows have in common, and a record of a few steps."""

from metabook import measure
from metabook.recipes.architecture_search import RECIPES, UNITS
from metabook.registry import build, make_tasks


def row(name):
    return RECIPES[f"architecture-search/functions-{name}"]


def test_the_fixed_rows_are_the_whole_space_of_the_searched_ones():
    for kind in ("maml", "hypernetwork"):
        fixed = {recipe.options["units"] for recipe in RECIPES.values() if recipe.system == kind}
        assert fixed == set(row("task-written").options["operations"].split(",")) == set(UNITS)
    assert len(RECIPES) == 2 * len(UNITS) + 5


def test_all_rows_see_as_many_batches_of_as_many_tasks_and_the_searched_ones_are_the_four_corners():
    for recipe in RECIPES.values():
        phases = [arguments for arguments, _ in recipe.phases()]
        assert sum(phase["steps"] for phase in phases) == 3000
        assert {(phase["batch"], phase["lr"], phase["optimizer"]) for phase in phases} == {(32, 0.01, "muon")}
        assert phases[-1]["schedule"] == "cosine" and recipe.seeds == (0, 1, 2) and recipe.validated
    tasks = make_tasks("function-mixture")
    corners = set()
    for name in ("shared-start", "task-start", "shared-written", "task-written"):
        learner = build("metanetworks", tasks, **row(name).options)
        written = bool(list(learner.writer.parameters()))
        assert learner.inner_steps == (0 if written else 5)
        corners.add((learner.chooser.shared, written))
    assert len(corners) == 4


def test_the_soft_row_is_scored_as_it_was_trained_and_made_discrete(tmp_path):
    """After a few steps the mixture and its most probable operation are still different networks."""
    soft = row("shared-start-soft")
    few = soft._replace(
        training=({**soft.training[0], "steps": 2, "batch": 2, "validation_episodes": 2},),
        tests=tuple(test._replace(episodes=10) for test in soft.tests),
        seeds=(0,),
    )
    scores = measure.measure("few", few, tmp_path, device="cpu")["scores"]
    assert list(scores) == ["mse", "mse, made discrete"]
    assert abs(scores["mse"]["mean"] - scores["mse, made discrete"]["mean"]) > 1e-3
