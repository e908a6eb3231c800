"""Recording full-scale results: train, score on many test tasks, write ``results/NAME.json``.

``python -m metabook.record NAME`` runs a recipe of ``metabook.recipes`` again; a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import torch

from metabook.checks import check_count
from metabook.confidence import confidence
from metabook.device import pick_device
from metabook.evaluation import Score, Scores, evaluate
from metabook.files import write_json
from metabook.learner import MetaLearner
from metabook.metric import BestView, ProtoNet
from metabook.recipe import Measurement, Recipe
from metabook.recipes import RECIPES
from metabook.recipes.training import train_recipe
from metabook.registry import build, find, make_tasks
from metabook.tasks.distort import MILD
from metabook.views import Views

RESULTS = Path(__file__).parent / "results"
TEST_SEED = 10_000  #: the test tasks of seed s are drawn with TEST_SEED + s, far from the seeds of training


def record(
    name: str,
    *,
    results: str | os.PathLike[str] = RESULTS,
    folder: str | os.PathLike[str] = "runs/record",
    device: str | None = None,
) -> Path:
    """Carry out the recipe ``name`` and write ``results/NAME.json``, whole or not at all; return its path.

    Raises ValueError for an unknown name, OSError if the file cannot be written, and what ``measure`` raises.
    """
    recipe: Recipe = find("record", name, RECIPES)
    return write_json(Path(results) / f"{name}.json", measure(name, recipe, Path(folder) / name, device=device))


def measure(name: str, recipe: Recipe, folder: str | os.PathLike[str], *, device: str | None = None) -> dict[str, Any]:
    """Train and score ``recipe`` once a seed; return the content of its results file.

    ``scores`` and ``minutes`` (of training) are those of the first seed, and the intervals are over its test tasks;
    ``repeats`` has the means of the other seeds.

    folder: for the checkpoints, one folder a seed; training that lies there is not done again.

    Raises what ``build``, ``make_tasks``, ``train`` and ``evaluate`` raise.
    """
    runs = []
    for seed in recipe.seeds:
        learner, seconds = train_recipe(recipe, Path(folder) / f"seed-{seed}", seed=seed, device=device)
        parts = [_scores(recipe, test, learner, seed, device) for test in recipe.tests]
        scores = Scores({label: score for part in parts for label, score in part.items()})
        runs.append({"seed": seed, "minutes": round(seconds / 60, 2), "scores": scores.summary()})
    return {
        "title": recipe.title,
        "system": recipe.system,
        "tasks": recipe.tasks,
        "command": f"python -m metabook.record {name}",
        **runs[0],
        "device": _describe(pick_device(device)),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": date.today().isoformat(),
        "settings": {**recipe.settings(), "transductive": learner.eval().transductive},
        "repeats": runs[1:],
        "published": [row._asdict() for row in recipe.published],
    }


def _scores(recipe: Recipe, test: Measurement, learner: MetaLearner, seed: int, device: str | None) -> dict[str, Score]:
    options = (recipe.task_options if test.tasks is None else {}) | test.task_options
    tasks = make_tasks(test.tasks or recipe.tasks, part="test", **options)
    tester = build(recipe.system, tasks, **recipe.options | test.options)
    tester.load_state_dict(learner.state_dict())
    tester = Views(tester, MILD, copies=test.views) if test.views else tester
    if test.best_views:
        assert isinstance(tester, ProtoNet), f"{recipe.title}: best views are those of prototypical networks"
        tester = BestView(tester, MILD, copies=test.best_views)
    setting: dict[str, Any] = {"episodes": test.episodes, "batch": test.batch}
    setting |= {"seed": TEST_SEED + seed, "device": device}
    if test.scores:
        validation = make_tasks(test.tasks or recipe.tasks, part="validation", **options)
        scores = confidence(tester, tasks, validation, **setting)
        return {label: scores[name] for label, name in zip(test.labels(), test.scores, strict=True)}
    return {test.label: next(iter(evaluate(tester, tasks, **setting).values()))}


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else device.type


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``python -m metabook.record``; returns the exit status."""
    groups = sorted({group for name in RECIPES if (group := name.rpartition("/")[0])})
    alone = {name: recipe.title for name, recipe in RECIPES.items() if "/" not in name}
    every = {group: f"every experiment of this table, {_count(group)} of them" for group in groups}
    parser = argparse.ArgumentParser(
        prog="python -m metabook.record",
        description="Run a recorded experiment again and write its results file. A stopped run goes on where it was.",
        epilog="\n".join(["names:", *(f"  {name:<32}{text}" for name, text in {**alone, **every}.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="a recorded experiment or a table, see below")
    parser.add_argument("--results", default=RESULTS, help="folder for NAME.json (default: the package's own)")
    parser.add_argument("--folder", default="runs/record", help="folder for checkpoints (default: runs/record)")
    parser.add_argument("--device", help="cuda, mps or cpu; whichever there is by default")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at a time, each on one thread (1)")
    parser.add_argument("--scale", choices=["small", "full"], default="small", help="of a table: full is for a GPU")
    args = parser.parse_args(argv)
    try:
        check_count("jobs", args.jobs)
        names = [each for name in args.names for each in _expand(name, args.scale, Path(args.results))]
        if args.jobs == 1:
            for name in names:
                print(f"{record(name, results=args.results, folder=args.folder, device=args.device)}", flush=True)
            return 0
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"metabook.record: error: {error}", file=sys.stderr)
        return 2
    rest = ["--results", str(args.results), "--folder", str(args.folder)]
    return _in_parallel(names, rest + (["--device", args.device] if args.device else []), args.jobs)


def _count(group: str) -> int:
    return sum(name.startswith(f"{group}/") for name in RECIPES)


def _expand(name: str, scale: str, results: Path) -> list[str]:
    """The experiment ``name``; or those of the table ``name`` that are not recorded with their present settings."""
    if name in RECIPES:
        return [name]
    group = f"{name}-full/" if scale == "full" else f"{name}/"
    names = [known for known in RECIPES if known.startswith(group)]
    return [known for known in names if not _is_recorded(known, results)] if names else [find("record", name, RECIPES)]


def _is_recorded(name: str, results: Path) -> bool:
    try:
        old = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    settings = json.loads(json.dumps(RECIPES[name].settings()))
    return all(old["settings"].get(key) == value for key, value in settings.items())


def _in_parallel(names: Sequence[str], rest: Sequence[str], jobs: int) -> int:
    """Each experiment in a process of its own; one that fails does not stop the others. Returns the exit status."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}

    def one(name: str) -> bool:
        command = [sys.executable, "-m", "metabook.record", name, *rest]
        done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
        last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:] or ["no word"]
        print(f"{name}: {'done' if done.returncode == 0 else f'FAILED: {last[0]}'}", flush=True)
        return done.returncode == 0

    print(f"{len(names)} experiments, {jobs} at a time", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        return 0 if all(list(pool.map(one, names))) else 1


if __name__ == "__main__":
    sys.exit(main())
