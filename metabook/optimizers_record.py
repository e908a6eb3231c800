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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabook.device import make_generator, pick_device
from metabook.evaluation import Score
from metabook.files import write_json
from metabook.learner import MetaLearner
from metabook.optimization import tune
from metabook.recipe import Options
from metabook.recipes import RECIPES
from metabook.recipes.optimizers import QUADRATICS, TEN_UNITS
from metabook.record import RESULTS, TEST_SEED, _trained, record
from metabook.registry import build, find, make_tasks
from metabook.tasks.protocol import Tasks

TUNING_SEED = 20_000  #: of the problems that the rules are tuned on: not those of training, nor of the test
DIVERGED = 100.0  #: nats: what a mean loss counts as that is not finite, or larger
Rules = dict[str, tuple[Options, dict[str, list[float]]]]


def powers(low: float, high: float, count: int) -> list[float]:
    """``count`` numbers from low to high, each the same multiple of the one before, with four digits."""
    return [float(f"{low * (high / low) ** (i / (count - 1)):.4g}") for i in range(count)]


#: rule -> (fixed options, grid); every grid reaches past its optimum, or ``tune`` raises
FOR_QUADRATICS: Rules = {
    "SGD": ({"rule": "sgd"}, {"lr": powers(0.02, 0.64, 16)}),
    "SGD, cosine": ({"rule": "sgd", "decay": "cosine"}, {"lr": powers(0.02, 0.64, 16)}),
    "momentum": ({"rule": "momentum"}, {"lr": powers(0.08, 0.64, 7), "beta1": [0.8, 0.85, 0.9, 0.93, 0.96]}),
    "momentum, cosine": (
        {"rule": "momentum", "decay": "cosine"},
        {"lr": powers(0.08, 0.64, 7), "beta1": [0.8, 0.85, 0.9, 0.93, 0.96]},
    ),
    "Nesterov": ({"rule": "nesterov"}, {"lr": powers(0.02, 0.32, 9), "beta1": [0.9, 0.93, 0.95, 0.97, 0.985]}),
    "Nesterov, cosine": (
        {"rule": "nesterov", "decay": "cosine"},
        {"lr": powers(0.02, 0.32, 9), "beta1": [0.93, 0.95, 0.97, 0.985, 0.993]},
    ),
    "RMSprop": ({"rule": "rmsprop"}, {"lr": powers(0.02, 0.32, 9), "beta2": [0.95, 0.99, 0.999, 0.9999, 0.99999]}),
    "RMSprop, cosine": (
        {"rule": "rmsprop", "decay": "cosine"},
        {"lr": powers(0.08, 1.28, 9), "beta2": [0.7, 0.8, 0.9, 0.95, 0.99]},
    ),
    "Adam": (
        {"rule": "adam"},
        {"lr": powers(0.1, 0.4, 5), "beta1": [0.75, 0.8, 0.85, 0.9, 0.94], "beta2": [0.6, 0.7, 0.8, 0.87, 0.93]},
    ),
    "Adam, cosine": (
        {"rule": "adam", "decay": "cosine"},
        {"lr": powers(0.8, 3.2, 5), "beta1": [0.75, 0.8, 0.85, 0.9, 0.94], "beta2": [0.6, 0.7, 0.8, 0.87, 0.93]},
    ),
}


FOR_NETWORKS: Rules = {
    "SGD": ({"rule": "sgd"}, {"lr": powers(2, 32, 9)}),
    "momentum": ({"rule": "momentum"}, {"lr": powers(2, 32, 9), "beta1": [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9]}),
    "Nesterov": ({"rule": "nesterov"}, {"lr": powers(1, 16, 9), "beta1": [0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]}),
    "RMSprop": (
        {"rule": "rmsprop"},
        {"lr": powers(0.01, 0.16, 9), "beta2": [0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999]},
    ),
    "Adam": (
        {"rule": "adam"},
        {
            "lr": powers(0.07, 0.28, 5),
            "beta1": [0.5, 0.7, 0.8, 0.85, 0.9, 0.95],
            "beta2": [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99],
        },
    ),
    "Adam, cosine": (
        {"rule": "adam", "decay": "cosine"},
        {
            "lr": powers(0.1, 0.57, 6),
            "beta1": [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9],
            "beta2": [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99],
        },
    ),
}


class Contest(NamedTuple):
    """One recorded learned optimiser and its rivals."""

    optimisee: Options
    rules: Rules
    steps: int  #: the horizon of training and tuning
    #: label -> (options of the tasks, of learner and rivals): what is scored, without new training or tuning
    settings: dict[str, tuple[Options, Options]]
    along: bool  #: score the mean loss over all steps, at most DIVERGED, not the loss after the last
    problems: int  #: to tune on
    test: int
    batch: int


CONTESTS: dict[str, Contest] = {
    "quadratics-learned-optimizer": Contest(
        QUADRATICS,
        FOR_QUADRATICS,
        100,
        {
            "100 steps": ({}, {}),
            "200 steps": ({}, {"steps": 200}),
            "5 dimensions": ({"dim": 5}, {}),
            "20 dimensions": ({"dim": 20}, {}),
        },
        along=False,
        problems=2000,
        test=5000,
        batch=500,
    ),
    "network-training-learned-optimizer": Contest(
        TEN_UNITS,
        FOR_NETWORKS,
        50,
        {
            "50 steps": ({}, {}),
            "100 steps": ({}, {"steps": 100}),
            "20 units": ({}, {"layers": (20,)}),
            "two layers": ({}, {"layers": (10, 10)}),
            "ReLU": ({}, {"activation": "relu"}),
        },
        along=True,
        problems=30,
        test=80,
        batch=20,
    ),
}


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
    learner, _ = _trained(RECIPES[name], seed, Path(folder) / name / f"seed-{seed}", device)
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
