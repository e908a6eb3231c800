"""Training by a recipe: its phases one after the other, each resumed where it was stopped."""

from __future__ import annotations

import os
from pathlib import Path

from metabook.learner import MetaLearner
from metabook.recipe import Recipe
from metabook.registry import build, make_tasks
from metabook.training import train

PHASE_SEED = 1_000  #: phase i of training draws its tasks with seed s + PHASE_SEED * i


def train_recipe(
    recipe: Recipe, folder: str | os.PathLike[str], *, seed: int = 0, device: str | None = None
) -> tuple[MetaLearner, float]:
    """The learner that ``recipe`` trains, and the seconds it took, interruptions not counted.

    folder: for the checkpoints, one folder a phase; training that lies there is not done again.

    Raises what ``build``, ``make_tasks`` and ``train`` raise.
    """
    tasks = make_tasks(recipe.tasks, part="train", **recipe.task_options | recipe.train_options)
    options = recipe.options
    learner = build(recipe.system, tasks, seed=seed, **options)
    validation = make_tasks(recipe.tasks, part="validation", **recipe.task_options) if recipe.validated else None
    seconds = 0.0
    for i, (phase, changed) in enumerate(recipe.phases()):
        if changed:
            weights, options = learner.state_dict(), options | changed
            learner = build(recipe.system, tasks, seed=seed, **options)
            learner.load_state_dict(weights)
        history = train(
            learner,
            tasks,
            validation=validation,
            seed=seed + PHASE_SEED * i,
            device=device,
            out=Path(folder) / f"phase-{i}",
            resume=True,
            **phase,
        )
        seconds += history.seconds
    return learner, seconds
