"""Recording full-scale results: train, score on many test tasks, write ``results/NAME.json``.

``python -m metabook.record NAME`` runs a recipe of ``metabook.recipes`` again; a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from metabook.checks import check_count
from metabook.device import pick_device
from metabook.files import write_json
from metabook.measure import describe, measure
from metabook.recipe import Recipe
from metabook.recipes import RECIPES
from metabook.registry import find

RESULTS = Path(__file__).parent / "results"


def record(
    name: str,
    *,
    results: str | os.PathLike[str] = RESULTS,
    folder: str | os.PathLike[str] = "runs/record",
    device: str | None = None,
) -> Path:
    """Carry out the recipe ``name`` and write ``results/NAME.json``, whole or not at all; return its path.

    A file that lacks some of the recipe's seeds, made with the same settings, device and torch, is completed. A file
    that has them all is made again.

    Raises ValueError for an unknown name, OSError if the file cannot be written, and what ``measure`` raises.
    """
    recipe: Recipe = find("record", name, RECIPES)
    path = Path(results) / f"{name}.json"
    known = _recorded(path, recipe, device=describe(pick_device(device)), torch=str(torch.__version__))
    missing = recipe.seeds != tuple(known)
    return write_json(path, measure(name, recipe, Path(folder) / name, device=device, known=known if missing else {}))


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
    return [known for known in names if not _is_whole(known, results)] if names else [find("record", name, RECIPES)]


def _is_whole(name: str, results: Path) -> bool:
    return tuple(_recorded(results / f"{name}.json", RECIPES[name])) == RECIPES[name].seeds


def _recorded(path: Path, recipe: Recipe, **same: str) -> dict[int, dict[str, Any]]:
    """The runs in the file by seed, if it was made with the recipe's settings, and with ``same`` device or torch."""
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    settings = json.loads(json.dumps(recipe.settings()))
    same |= {"system": recipe.system, "tasks": recipe.tasks}
    if any(old["settings"].get(k) != v for k, v in settings.items()) or any(old[k] != v for k, v in same.items()):
        return {}
    runs = ({k: old[k] for k in ("seed", "minutes", "scores")}, *old["repeats"])
    return {run["seed"]: run for run in runs if run["seed"] in recipe.seeds}


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
