"""The learned optimisers beside the hand-made ones: ``python -m metabook.optimizers_record [NAME]``.

Records a learned optimiser as ``metabook.record`` does, tunes each hand-made rule on other problems, then scores all of
them on the same test problems, and adds the table to the results file as ``comparison``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabook.device import make_generator, pick_device
from metabook.evaluation import Score
from metabook.files import write_json
from metabook.learner import MetaLearner
from metabook.measure import TEST_SEED
from metabook.optimization import tune
from metabook.recipes import RECIPES
from metabook.recipes.contests import CONTESTS, Contest
from metabook.recipes.training import train_recipe
from metabook.record import RESULTS, record
from metabook.registry import build, find, make_tasks
from metabook.tasks.protocol import Tasks

TUNING_SEED = 20_000  #: of the problems that the rules are tuned on: not those of training, nor of the test
DIVERGED = 100.0  #: nats: what a mean loss counts as that is not finite, or larger


def values(learner: MetaLearner, tasks: Tasks, contest: Contest, seed: int, device: torch.device) -> dict[str, Tensor]:
    """loss and log_loss on the test problems that ``seed`` draws, as ``evaluate`` draws them, [test] each."""
    generator, parts = make_generator(device, seed), []
    learner.to(device).eval()
    with torch.no_grad():
        for _ in range(contest.test // contest.batch):
            problems = tasks.sample(contest.batch, generator)
            if contest.along:
                mean = learner.adapt(problems.support).losses.mean(1).nan_to_num(nan=DIVERGED).clamp(max=DIVERGED)
                parts.append({"loss": mean, "log_loss": mean.log()})
            else:
                parts.append(tasks.score(learner, problems))
    return {name: torch.cat([part[name] for part in parts]).double().cpu() for name in parts[0]}


def row(scores: dict[str, Tensor], learned: dict[str, Tensor]) -> dict[str, Any]:
    """Mean, interval, median and mean logarithm of f, and how often the learned optimiser ends lower."""
    loss, log = Score(scores["loss"]), Score(scores["log_loss"])
    return {
        "mean": loss.mean,
        "interval": loss.interval,
        "median": float(loss.values.median()),
        "log_mean": log.mean,
        "log_interval": log.interval,
        "wins": float((learned["loss"] < scores["loss"]).double().mean()),
        "n": loss.n,
    }


def compare(name: str, trained: MetaLearner, seed: int, device: torch.device) -> dict[str, Any]:
    """The table: the learned optimiser and every rule at its best rates, in each setting of the contest."""
    contest, recipe = CONTESTS[name], RECIPES[name]
    usual = make_tasks(recipe.tasks)
    rules = {}
    for rule, (fixed, grid) in contest.rules.items():
        make: Any = partial(build, "hand-made-optimizer", usual, **contest.optimisee, **fixed, steps=contest.steps)
        options: Any = {"along": contest.along, "problems": contest.problems, "seed": TUNING_SEED, "device": device}
        rules[rule] = {**fixed, **tune(make, usual, grid, **options).options}
        print(rule, rules[rule], flush=True)

    table: dict[str, Any] = {}
    for label, (task_options, changed) in contest.settings.items():
        tasks = make_tasks(recipe.tasks, part="test", **task_options)
        learner = build("learned-optimizer", tasks, **recipe.options | changed)
        kept = {k: v for k, v in trained.state_dict().items() if not k.startswith("net.")}
        learner.load_state_dict({**learner.state_dict(), **kept})
        learned = values(learner, tasks, contest, TEST_SEED + seed, device)
        table[label] = {"learned": row(learned, learned)}
        for rule, options in rules.items():
            settings = contest.optimisee | options | {"steps": contest.steps} | changed
            rival = build("hand-made-optimizer", tasks, **settings)
            table[label][rule] = row(values(rival, tasks, contest, TEST_SEED + seed, device), learned)
    grids = {k: g for k, (_, g) in contest.rules.items()}
    tuning = {"problems": contest.problems, "seed": TUNING_SEED, "best": rules, "grids": grids}
    return {"tuning": tuning, "table": table}


def record_contest(
    name: str,
    *,
    results: str | os.PathLike[str] = RESULTS,
    folder: str | os.PathLike[str] = "runs/record",
    device: str | None = None,
) -> Path:
    """Record the learned optimiser ``name``, compare, and write ``results/NAME.json``; return its path.

    Raises ValueError for an unknown name, and what ``record`` and ``tune`` raise.
    """
    find("contest", name, CONTESTS)
    path = record(name, results=results, folder=folder, device=device)
    seed = RECIPES[name].seeds[0]
    learner, _ = train_recipe(RECIPES[name], Path(folder) / name / f"seed-{seed}", seed=seed, device=device)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["comparison"] = compare(name, learner, seed, pick_device(device))
    return write_json(path, content)


def main(names: Sequence[str]) -> int:
    """Record the contests of these names, all of them when there are none; returns the exit status."""
    try:
        for name in names or CONTESTS:
            print(record_contest(name))
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"metabook.optimizers_record: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
