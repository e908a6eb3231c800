"""``metabook evaluate``: score a run on tasks that it has never seen."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from metabook.at_test import at_test_time
from metabook.commands import options
from metabook.commands.table import table
from metabook.evaluation import evaluate
from metabook.learner import MetaLearner
from metabook.registry import SYSTEMS, TASKS, build, make_tasks
from metabook.runs import CONFIG, load_learner, read_config
from metabook.tasks.protocol import Tasks


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = options.add_command(
        commands,
        "evaluate",
        help="score a run on tasks that it has never seen",
        examples=[
            "metabook evaluate runs/proto",
            "metabook evaluate runs/proto --way 20 --episodes 2000 --json",
            "metabook evaluate runs/sine --set inner_steps=10",
            "metabook evaluate runs/proto --tasks omniglot --split small1 --held-out small2",
            "metabook evaluate nearest-pixels --tasks glyphs",
            "metabook evaluate runs/proto --tasks omniglot-challenge --best-views 16",
            "metabook evaluate runs/proto --tasks omniglot-challenge --set archive=practice.zip",
        ],
    )
    parser.add_argument("place", metavar="RUN", help="a run folder, or a system that needs no training: nearest-pixels")
    parser.add_argument("--tasks", metavar="NAME", help="the run's own test part when not given")
    options.add_task_arguments(parser)
    group = parser.add_argument_group("the evaluation")
    group.add_argument("--episodes", type=int, metavar="N", help="number of tasks; 1000, or each of a fixed set once")
    group.add_argument("--batch", type=int, metavar="B", help="tasks at a time, 50; bounds the memory")
    group.add_argument("--views", type=int, metavar="N", help="average over N distorted copies of each task; images")
    group.add_argument(
        "--best-views",
        type=int,
        metavar="N",
        help="take the most alike pair of N distorted copies of each image",
    )
    group.add_argument(
        "--fine-tune",
        type=int,
        metavar="STEPS",
        help="first take so many steps on distorted copies of each task's own support images",
    )
    group.add_argument("--seed", type=int, default=1, metavar="N", help="fixes the tasks, 1")
    group.add_argument("--json", action="store_true", help="print JSON only")
    options.add_set_argument(group, "an option of the system to change, such as inner_steps=10, or one of the tasks")
    options.add_machine_arguments(group)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Print the scores with their 95 % intervals."""
    config = _config(args.place, args.tasks)
    name = config["tasks"] if args.tasks is None else options.task_name(args.tasks)
    of_system, of_tasks = options.settings(args.set, config["system"], name)
    of_tasks = {**_inherited(config, name), **options.task_options(name, args), **of_tasks}
    tasks = make_tasks(name, part="test", **of_tasks)
    learner = _learner(args.place, config, tasks, of_system)
    at_test = {"views": args.views, "best_views": args.best_views, "fine_tune": args.fine_tune}
    learner = at_test_time(learner, tasks.x_shape, **at_test)
    runs = getattr(tasks, "runs", None)  # of a fixed set of tasks, dealt without repetition within a batch
    episodes, batch = _first(args.episodes, runs, 1000), _first(args.batch, runs, 50)
    scores = evaluate(learner, tasks, episodes=episodes, batch=batch, seed=args.seed, device=args.device)
    if args.json:
        about = {"run": args.place, "system": config["system"], "options": {**config["options"], **of_system}}
        about |= {"tasks": name, "task_options": of_tasks, "seed": args.seed, **at_test}
        print(json.dumps({**about, "scores": scores.summary()}, indent=2))
        return 0
    print(f"{config['system']} on {name}, tasks it has never seen" + _described(of_tasks))
    rows = [
        [key, f"{s['mean']:.4f}", "" if s["interval"] is None else f"± {s['interval']:.4f}", str(s["n"])]
        for key, s in scores.summary().items()
    ]
    print(table(rows, ["score", "mean", "95 %", "tasks"]))
    return 0


def _config(place: str, tasks: str | None) -> dict[str, Any]:
    """The run's own settings, or those of a system that needs no training."""
    if place not in SYSTEMS or (Path(place) / CONFIG).exists():
        return read_config(place)
    if tasks is None:
        raise ValueError(f"--tasks: needed, because {place} is a system and not a run folder")
    return {"system": place, "options": {}, "tasks": options.task_name(tasks), "task_options": {}, "untrained": True}


def _inherited(config: dict[str, Any], name: str) -> dict[str, Any]:
    """What the run's own tasks say about these: everything for the same family, else ways and shots."""
    of_run: dict[str, Any] = config["task_options"]
    if name == config["tasks"]:
        return dict(of_run)
    known = TASKS[name.partition(":")[0]].options()
    return {k: of_run[k] for k in options.INHERITED if k in known and of_run.get(k) is not None}


def _learner(place: str, config: dict[str, Any], tasks: Tasks, of_system: dict[str, Any]) -> MetaLearner:
    if "untrained" not in config:
        return load_learner(place, tasks=tasks, options=of_system)
    learner = build(config["system"], tasks, **of_system)
    if next(learner.parameters(), None) is not None:
        raise ValueError(f"run: {place} needs training first; metabook train {place} --tasks {config['tasks']}")
    return learner


def _described(of_tasks: dict[str, Any]) -> str:
    parts = [f"{of_tasks[k]}-{word}" for k, word in (("way", "way"), ("shots", "shot")) if of_tasks.get(k) is not None]
    return ": " + " ".join(parts) if parts else ""


def _first(*values: int | None) -> int:
    """The first that is given."""
    return next(value for value in values if value is not None)
