"""What each system of the page that compares them all costs: parameters, adaptation time, memory.

``python -m metabook.cost`` measures them and writes ``costs/everything.json``, in a few minutes on one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from metabook.checks import check_count
from metabook.files import write_json
from metabook.measure import TEST_SEED, describe
from metabook.memory import peak_allocated
from metabook.recipe import Measurement, Recipe
from metabook.recipes import RECIPES
from metabook.recipes.everything import ROWS
from metabook.registry import build, make_tasks
from metabook.timer import Timer

COSTS = Path(__file__).parent / "costs"
NAMES = tuple(name for rows in ROWS.values() for name in rows.values())  #: of the recipes that are measured
ROUNDS = 5  #: the median of so many turns counts
CPU = torch.device("cpu")


def cost(recipe: Recipe, test: Measurement, *, tasks: int = 1, rounds: int = ROUNDS) -> dict[str, float]:
    """What the learner of ``recipe`` costs in ``test``, for a batch of so many tasks, on the CPU.

    adapt_ms and predict_ms: milliseconds of the processor for a task, median over rounds; all queries are predicted.
    peak_bytes: the most memory at any moment of both together. The weights are those before training.

    Raises ValueError or TypeError for counts below 1, and what ``make_tasks`` and ``build`` raise.
    """
    family = make_tasks(test.tasks or recipe.tasks, part="test", **recipe.task_options | test.task_options)
    learner = build(recipe.system, family, **recipe.options | test.options).eval()
    generator = torch.Generator().manual_seed(TEST_SEED)
    batch = family.sample(check_count("tasks", tasks), generator)
    timer = Timer(CPU, check_count("rounds", rounds), clock=time.process_time)
    with torch.no_grad():
        state = learner.adapt(batch.support)
        seconds = timer(lambda: learner.adapt(batch.support), lambda: learner.predict(state, batch.query.x))
        peak = peak_allocated(lambda: learner.predict(learner.adapt(batch.support), batch.query.x))
    adapt, predict = (1000 * s / tasks for s in seconds)
    return {"adapt_ms": adapt, "predict_ms": predict, "peak_bytes": peak}


def parameters(recipe: Recipe) -> int:
    """How many numbers training changes."""
    tasks = make_tasks(recipe.tasks, **recipe.task_options | recipe.train_options)
    return sum(p.numel() for p in build(recipe.system, tasks, **recipe.options).parameters() if p.requires_grad)


def measure_all(recipes: Mapping[str, Recipe], *, tasks: int = 1, rounds: int = ROUNDS) -> dict[str, Any]:
    """The content of the file: how it was measured, and under "costs" a row a recipe, with each of its tests."""
    rows = {}
    for name, recipe in recipes.items():
        tests = {test.label: cost(recipe, test, tasks=tasks, rounds=rounds) for test in recipe.tests}
        rows[name] = {"system": recipe.system, "parameters": parameters(recipe), "tests": tests}
    return {
        "title": "Parameters, adaptation time and memory of every classifier and regressor",
        "command": "python -m metabook.cost",
        "tasks_in_a_batch": tasks,
        "rounds": rounds,
        "device": describe(CPU),
        "processor": platform.machine(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": date.today().isoformat(),
        "costs": rows,
    }


def record_costs(folder: str | os.PathLike[str] = COSTS, *, rounds: int = ROUNDS) -> Path:
    """Measure every row on one thread and write ``everything.json`` into ``folder``, whole or not at all."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = measure_all({name: RECIPES[name] for name in NAMES}, rounds=rounds)
    finally:
        torch.set_num_threads(threads)
    return write_json(Path(folder) / "everything.json", found)


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``python -m metabook.cost``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m metabook.cost", description=__doc__)
    parser.add_argument("--folder", default=COSTS, help="where everything.json is written (the package's own)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns, of which the median counts ({ROUNDS})")
    args = parser.parse_args(argv)
    try:
        print(record_costs(args.folder, rounds=args.rounds))
    except (ValueError, OSError) as error:
        print(f"metabook.cost: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
