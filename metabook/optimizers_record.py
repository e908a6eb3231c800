"""The learned optimiser beside every hand-made one: ``python -m metabook.optimizers_record``.

Records ``quadratics-learned-optimizer`` as ``metabook.record`` does, tunes each hand-made rule on other problems, then
scores all of them on the same test problems, and adds the table to the results file as ``comparison``.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabook.device import make_generator, pick_device
from metabook.evaluation import Score
from metabook.files import write_json
from metabook.learner import MetaLearner
from metabook.optimization import HandMade, tune
from metabook.recipe import Options
from metabook.recipes import RECIPES
from metabook.recipes.optimizers import QUADRATICS
from metabook.record import RESULTS, TEST_SEED, _trained, record
from metabook.registry import build, make_tasks
from metabook.tasks.protocol import Tasks

NAME = "quadratics-learned-optimizer"
TUNING_SEED = 20_000  #: of the problems that the rules are tuned on: not those of training, nor of the test
PROBLEMS, TEST, BATCH = 2000, 5000, 500


def powers(low: float, high: float, count: int) -> list[float]:
    """``count`` numbers from low to high, each the same multiple of the one before, with four digits."""
    return [float(f"{low * (high / low) ** (i / (count - 1)):.4g}") for i in range(count)]


#: rule -> (fixed options, grid); every grid reaches past its optimum, or ``tune`` raises
RULES: dict[str, tuple[Options, dict[str, list[float]]]] = {
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


def values(learner: MetaLearner, tasks: Tasks, seed: int, device: torch.device) -> dict[str, Tensor]:
    """Score name -> [TEST], on the test problems that ``seed`` draws, as ``evaluate`` draws them."""
    generator, parts = make_generator(device, seed), []
    learner.to(device).eval()
    with torch.no_grad():
        for _ in range(TEST // BATCH):
            parts.append(tasks.score(learner, tasks.sample(BATCH, generator)))
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


def compare(trained: MetaLearner, seed: int, device: torch.device) -> dict[str, Any]:
    """The table: the learned optimiser and every rule at its best rates, over the horizon, beyond it, and in other
    dimensions, all without new training or tuning."""
    recipe, ten = RECIPES[NAME], make_tasks("quadratics")
    rules = {}
    for name, (fixed, grid) in RULES.items():
        make: Any = partial(build, "hand-made-optimizer", ten, **QUADRATICS, **fixed, steps=100)
        rules[name] = {**fixed, **tune(make, ten, grid, problems=PROBLEMS, seed=TUNING_SEED, device=device).options}
        print(name, rules[name], flush=True)

    settings = {"100 steps": (10, 100), "200 steps": (10, 200), "5 dimensions": (5, 100), "20 dimensions": (20, 100)}
    table: dict[str, Any] = {}
    for label, (dim, steps) in settings.items():
        tasks = make_tasks("quadratics", dim=dim)
        learner = build("learned-optimizer", tasks, **recipe.options | {"steps": steps})
        kept = {k: v for k, v in trained.state_dict().items() if not k.startswith("net.")}
        learner.load_state_dict({**learner.state_dict(), **kept})
        learned = values(learner, tasks, TEST_SEED + seed, device)
        table[label] = {"learned": row(learned, learned)}
        for name, options in rules.items():
            rival = build("hand-made-optimizer", tasks, **QUADRATICS, **options, steps=steps)
            assert isinstance(rival, HandMade)
            table[label][name] = row(values(rival, tasks, TEST_SEED + seed, device), learned)
    tuning = {"problems": PROBLEMS, "seed": TUNING_SEED, "best": rules, "grids": {k: g for k, (_, g) in RULES.items()}}
    return {"tuning": tuning, "table": table}


def main(
    results: str | os.PathLike[str] = RESULTS, folder: str | os.PathLike[str] = "runs/record", device: str | None = None
) -> int:
    """Record, compare, and write; returns the exit status."""
    path = record(NAME, results=results, folder=folder, device=device)
    seed = RECIPES[NAME].seeds[0]
    learner, _ = _trained(RECIPES[NAME], seed, Path(folder) / NAME / f"seed-{seed}", device)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["comparison"] = compare(learner, seed, pick_device(device))
    print(write_json(path, content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
