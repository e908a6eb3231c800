"""Trained on letters, then on digits, then on letters again: ``python -m metabook.continual [NAME]``.

Records the learner that is trained on letters as ``metabook.record`` does, trains it on, tests it on the way, and adds
the curves to the results file as ``curves``. Munkhdalai and Yu (2017), arXiv:1703.00837, have such an experiment with
Omniglot and MNIST: ``continual-omniglot/meta-networks``, which downloads both.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metabook.evaluation import Scores, evaluate
from metabook.files import write_json
from metabook.learner import MetaLearner
from metabook.measure import TEST_SEED
from metabook.recipe import Recipe
from metabook.recipes.continual import FIRST, OMNIGLOT, SECOND, Continuation, continuation
from metabook.recipes.continual import RECIPES as CONTINUED
from metabook.recipes.training import PHASE_SEED, train_recipe
from metabook.record import RESULTS, record
from metabook.registry import build, find, make_tasks
from metabook.tasks.protocol import Tasks
from metabook.training import train

Curve = list[tuple[int, Scores]]  #: number of steps, scores after them


def follow(
    learner: MetaLearner,
    tasks: Tasks,
    recipe: Recipe,
    plan: Continuation,
    points: Sequence[int],
    *,
    seed: int,
    phase: int,
    labels: Sequence[str] = (FIRST, SECOND),
    device: str | None = None,
) -> Curve:
    """The tests ``labels`` of the recipe before training on ``tasks`` and after each number of steps in ``points``.

    The learner is trained. Between two points training goes on as if it had not been stopped: after the last it is, bit
    for bit, the learner of one ``train`` of so many steps. Every point has the same test tasks, those of the recipe.

    phase: training draws its tasks with seed ``seed + PHASE_SEED * phase``.

    Raises what ``train``, ``make_tasks`` and ``evaluate`` raise.
    """
    curve = [(0, _test(learner, recipe, labels, seed, device))]
    with TemporaryDirectory() as folder:
        for steps in points:
            options = {"out": folder, "resume": True, "progress": "none", "device": device, **plan.training}
            train(learner, tasks, steps=steps, seed=seed + PHASE_SEED * phase, **options)
            curve.append((steps, _test(learner, recipe, labels, seed, device)))
    return curve


def continue_training(
    learner: MetaLearner, recipe: Recipe, plan: Continuation, *, seed: int, device: str | None = None
) -> dict[str, Any]:
    """The curves of a learner that ``recipe`` has trained with ``seed``. It stays as it is.

    away: on to the second tasks. back: then on to the first ones again. Two controls have the training of ``away``, the
    same rate and the same draws: ``fresh`` starts from first weights in place of those that the first tasks made, and
    ``stay`` trains on the first tasks in place of the second.

    Each is a list of points, ``steps`` and by test its mean, interval and n. Where the start has the same test,
    ``change`` is the difference from the last point before ``away``, task by task, by test.
    """
    first = make_tasks(recipe.tasks, part="train", **recipe.task_options | recipe.train_options)
    second = make_tasks(plan.tasks, part="train", **recipe.train_options)
    away, stay = copy.deepcopy(learner), copy.deepcopy(learner)
    fresh = build(recipe.system, first, seed=seed, **recipe.options)
    given: dict[str, Any] = {"seed": seed, "device": device}
    curves = {
        "away": follow(away, second, recipe, plan, plan.away, phase=1, **given),
        "back": follow(away, first, recipe, plan, plan.back, phase=2, **given),
        "fresh": follow(fresh, second, recipe, plan, plan.away, phase=1, labels=(SECOND,), **given),
        "stay": follow(stay, first, recipe, plan, plan.away, phase=1, labels=(FIRST,), **given),
    }
    start = curves["away"][0][1]
    return {name: [_point(steps, scores, start) for steps, scores in curve] for name, curve in curves.items()}


def _test(learner: MetaLearner, recipe: Recipe, labels: Sequence[str], seed: int, device: str | None) -> Scores:
    found = Scores()
    for test in recipe.tests:
        if test.label in labels:
            shared = recipe.task_options if test.tasks is None else {}
            tasks = make_tasks(test.tasks or recipe.tasks, part="test", **shared | test.task_options)
            given: dict[str, Any] = {"batch": test.batch, "seed": TEST_SEED + seed, "device": device}
            found[test.label] = evaluate(learner, tasks, episodes=test.episodes, **given)["accuracy"]
    return found


def _point(steps: int, scores: Scores, start: Scores) -> dict[str, Any]:
    change = Scores({label: score.difference(start[label]) for label, score in scores.items()})
    return {"steps": steps, **scores.summary(), "change": change.summary()}


def record_continual(
    name: str,
    *,
    results: str | os.PathLike[str] = RESULTS,
    folder: str | os.PathLike[str] = "runs/record",
    device: str | None = None,
) -> Path:
    """Record the learner ``name``, train it on, and write ``results/NAME.json`` with the curves; return its path.

    Raises ValueError for an unknown name, and what ``record`` and ``train`` raise.
    """
    recipe: Recipe = find("experiment", name, {**CONTINUED, **OMNIGLOT})
    path, plan = record(name, results=results, folder=folder, device=device), continuation(recipe)
    curves = []
    for seed in recipe.seeds:
        learner, _ = train_recipe(recipe, Path(folder) / name / f"seed-{seed}", seed=seed, device=device)
        curves.append({"seed": seed, **continue_training(learner, recipe, plan, seed=seed, device=device)})
        print(f"{name}, seed {seed}: continued", flush=True)
    content = json.loads(path.read_text(encoding="utf-8"))
    return write_json(path, {**content, "continuation": plan.settings(), "curves": curves})


def main(names: Sequence[str]) -> int:
    """Record the experiments of these names, those on printed letters when there are none; returns the exit status."""
    try:
        for name in names or CONTINUED:
            print(record_continual(name), flush=True)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"metabook.continual: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
