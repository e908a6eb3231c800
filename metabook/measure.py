"""Training and scoring a recipe: what stands in a results file."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from metabook import chosen, drawn
from metabook.at_test import at_test_time
from metabook.checks import check_choice
from metabook.confidence import NAMES, confidence
from metabook.device import pick_device
from metabook.evaluation import Score, Scores, evaluate
from metabook.learner import MetaLearner
from metabook.recipe import Measurement, Recipe
from metabook.recipes.training import train_recipe
from metabook.registry import build, make_tasks
from metabook.scores import SCORES, ScoredBy

TEST_SEED = 10_000  #: the test tasks of seed s are drawn with TEST_SEED + s, far from the seeds of training
KNOWN = {**SCORES, **drawn.SCORES, **chosen.SCORES}  #: what a measurement may ask for


def measure(
    name: str,
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    device: str | None = None,
    known: Mapping[int, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train and score ``recipe`` once a seed; return the content of its results file.

    ``scores`` and ``minutes`` (of training) are those of the first seed, and the intervals are over its test tasks;
    ``repeats`` has the means of the other seeds.

    folder: for the checkpoints, one folder a seed; training that lies there is not done again.
    known: by seed, runs that need not be carried out; not all of them.

    Raises what ``build``, ``make_tasks``, ``train`` and ``evaluate`` raise.
    """
    runs = []
    for seed in recipe.seeds:
        if known and seed in known:
            runs.append(known[seed])
            continue
        learner, seconds = train_recipe(recipe, Path(folder) / f"seed-{seed}", seed=seed, device=device)
        scores = _scores(recipe, learner, seed, device)
        runs.append({"seed": seed, "minutes": round(seconds / 60, 2), "scores": scores.summary()})
    return {
        "title": recipe.title,
        "system": recipe.system,
        "tasks": recipe.tasks,
        "command": f"python -m metabook.record {name}",
        **runs[0],
        "device": describe(pick_device(device)),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": date.today().isoformat(),
        "settings": {**recipe.settings(), "transductive": learner.eval().transductive},
        "repeats": runs[1:],
        "published": [row._asdict() for row in recipe.published],
    }


def _scores(recipe: Recipe, learner: MetaLearner, seed: int, device: str | None) -> Scores:
    """By label; tests that differ in the score alone share one pass over the tasks."""
    found: dict[str, Score] = {}
    for test in recipe.tests:
        alike = [t for t in recipe.tests if t._replace(label=test.label, score=test.score) == test]
        alike = [t for t in alike if t.score and (t.score in KNOWN) == (test.score in KNOWN)]
        names = [t.score for t in alike if t.score] if test.score else []
        if test.label not in found:
            scores = _evaluate(recipe, test, names, learner, seed, device)
            found |= (
                {t.label: scores[str(t.score)] for t in alike} if names else {test.label: next(iter(scores.values()))}
            )
    return Scores({test.label: found[test.label] for test in recipe.tests})


def _evaluate(
    recipe: Recipe, test: Measurement, names: list[str], learner: MetaLearner, seed: int, device: str | None
) -> Scores:
    shared = recipe.task_options if test.tasks is None else {}
    family, options = test.tasks or recipe.tasks, shared | test.task_options
    tasks = make_tasks(family, part="test", **options)
    tester = build(recipe.system, tasks, **recipe.options | test.options)
    tester.load_state_dict(learner.state_dict())
    tester = at_test_time(tester, tasks.x_shape, **test.at_test)
    setting: dict[str, Any] = {"episodes": test.episodes, "batch": test.batch, "device": device}
    setting["seed"] = TEST_SEED + seed
    if set(names) - KNOWN.keys():  # such as a temperature that is fitted on other tasks
        for name in names:
            check_choice("score", name, (*KNOWN, *NAMES))
        found = confidence(tester, tasks, make_tasks(family, part="validation", **options), **setting)
        for name in names:  # of a classifier there are others than of a regressor
            check_choice("score", name, found)
        return found
    return evaluate(tester, ScoredBy(tasks, names, known=KNOWN) if names else tasks, **setting)


def describe(device: torch.device) -> str:
    """What stands for a device in a file."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else device.type
