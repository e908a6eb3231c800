"""``metabook train``: train a system on a distribution of tasks, into a run folder."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

from metabook.checks import check_count, check_positive
from metabook.commands import options, recipe
from metabook.device import pick_device
from metabook.registry import SYSTEMS, TASKS, build, find, make_tasks
from metabook.runs import CHECKPOINT, CONFIG, HISTORY, make_config, read_config, write_config
from metabook.training import History, train


class _Usual(NamedTuple):
    """What is not given on the command line, beside the number of steps, which is the system's own."""

    batch: int
    validations: int
    validation_episodes: int


IMAGES, OTHERS = _Usual(4, 5, 100), _Usual(25, 10, 200)


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = options.add_command(
        commands,
        "train",
        help="train a system on a distribution of tasks",
        examples=[
            "metabook train prototypical --tasks glyphs --out runs/proto",
            "metabook train maml --tasks sinusoids --shot 10 --steps 20000",
            "metabook train maml --tasks omniglot --split small1 --held-out small2 --set inner_steps=5",
            "metabook train prototypical --tasks folder:my_images --way 3 --shot 2",
            "metabook train prototypical --tasks glyphs --out runs/proto --resume",
            "metabook train --recipe glyphs-prototypical --out runs/recorded",
        ],
    )
    parser.add_argument("system", nargs="?", metavar="SYSTEM", help="one of " + ", ".join(SYSTEMS))
    parser.add_argument("--tasks", metavar="NAME", help="one of " + ", ".join(TASKS) + "; folder:PATH")
    parser.add_argument(
        "--recipe", metavar="NAME", help="train as a recorded experiment does; metabook results lists them"
    )
    options.add_task_arguments(parser)
    group = parser.add_argument_group("the training")
    group.add_argument("--steps", type=int, metavar="N", help="meta-updates; some minutes on two cores when not given")
    group.add_argument("--batch", type=int, metavar="B", help="tasks in a meta-update")
    group.add_argument("--lr", type=float, metavar="RATE", help="rate of the meta-update (Adam), 0.001 when not given")
    group.add_argument("--validate-every", type=int, metavar="N", help="steps between validations")
    group.add_argument("--seed", type=int, metavar="N", help="fixes the first weights and every draw; 0 when not given")
    group.add_argument(
        "--compile", action="store_true", default=None, help="compile the meta-gradient: small networks, many steps"
    )
    group.add_argument("--out", type=Path, metavar="DIR", help="the run folder; runs/SYSTEM-TASKS when not given")
    group.add_argument("--resume", action="store_true", help="go on with the run in --out where it was stopped")
    options.add_set_argument(
        group, "an option of the system or the tasks, such as inner_lr=0.1; metabook systems lists them"
    )
    options.add_machine_arguments(group)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Train, and say where the result is and what to do with it."""
    if args.recipe is not None:
        return recipe.run(args)
    if args.system is None or args.tasks is None:
        missing = "SYSTEM" if args.system is None else "--tasks"
        raise ValueError(f"{missing}: needed, unless --recipe says it; see metabook train --help")
    name = options.task_name(args.tasks)
    of_system, of_tasks = options.settings(args.set, args.system, name)
    of_tasks = {**options.task_options(name, args), **of_tasks}
    folder = args.out or Path("runs") / re.sub(r"\W+", "-", f"{args.system}-{args.tasks}").strip("-")
    device = str(pick_device(args.device)) if args.device or not args.resume else None
    training = {k: getattr(args, k) for k in ("steps", "batch", "lr", "validate_every", "compile")}
    given = {"system": args.system, "tasks": name, "seed": args.seed, "options": of_system, "task_options": of_tasks}
    given["training"] = {"device": device, **training, "validation_episodes": None}

    if args.resume:
        config = _resumed(folder, given)
    else:
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise FileExistsError(
                f"--out: {folder} is not empty; add --resume to go on with its run, or give another folder"
            )
        config = {}
    tasks = make_tasks(name, part="train", **config.get("task_options", of_tasks))
    validation = make_tasks(name, part="validation", **config.get("task_options", of_tasks))
    if not args.resume:
        family = TASKS[name.partition(":")[0]].options()
        config = make_config(
            args.system,
            {**find("system", args.system, SYSTEMS).options(), **of_system},
            name,
            {**{k: v for k, v in family.items() if k != "path" and _is_plain(v)}, **of_tasks},
            tasks,
            seed=0 if args.seed is None else args.seed,
            training=_complete(given["training"], args.system, len(tasks.x_shape) == 3),
        )
    learner = build(args.system, tasks, seed=config["seed"], **config["options"])
    return _train(folder, config, learner, tasks, validation)


def _train(folder: Path, config: dict[str, Any], learner: Any, tasks: Any, validation: Any) -> int:
    made = not folder.exists()
    for name in (CONFIG, CHECKPOINT, HISTORY):
        for stale in folder.glob(f".{name}.*"):  # begun and not finished when a run was killed
            stale.unlink(missing_ok=True)
    settings = config["training"]
    print(
        f"training {config['system']} on {config['tasks']}, {settings['steps']} steps, on {settings['device']}",
        flush=True,
    )
    try:
        write_config(folder, config)
        history = train(learner, tasks, validation=validation, seed=config["seed"], out=folder, resume=True, **settings)
    except BaseException as error:
        if not (folder / CHECKPOINT).exists():
            (folder / CONFIG).unlink(missing_ok=True)
            if made and folder.exists():
                folder.rmdir()
        elif isinstance(error, KeyboardInterrupt):
            print(f"metabook: stopped; {folder} is saved, the same command with --resume goes on", file=sys.stderr)
            return 130
        raise
    _report(folder, config, history)
    return 0


def _report(folder: Path, config: dict[str, Any], history: History) -> None:
    best = next((dict(v) for v in history.validation if v["step"] == history.best_step), None)
    print(f"done in {history.seconds:.0f} s, saved in {folder}")
    if best is not None:
        step = best.pop("step")
        print(f"kept the weights of step {step}: validation " + ", ".join(f"{k} {v:.4f}" for k, v in best.items()))
    print(f"test it:   metabook evaluate {shlex.quote(str(folder))}")
    if len(config["x_shape"]) == 3 and config["likelihood"]["kind"] == "classification":
        print(f"use it:    metabook predict {shlex.quote(str(folder))} --support FOLDER --query IMAGE")


def _complete(given: dict[str, Any], system: str, images: bool) -> dict[str, Any]:
    """The training settings, with defaults for what was not given."""
    usual, steps = IMAGES if images else OTHERS, find("system", system, SYSTEMS).steps[images]
    chosen = {**given, "compile": bool(given["compile"]), "validation_episodes": usual.validation_episodes}
    for key, default in (("steps", steps), ("batch", usual.batch), ("lr", 1e-3)):
        chosen[key] = default if given[key] is None else given[key]
    check_positive("lr", chosen["lr"])
    if chosen["validate_every"] is None:
        chosen["validate_every"] = max(1, check_count("steps", chosen["steps"]) // usual.validations)
    return chosen


def _resumed(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the run in ``folder``; ValueError if those given now differ. More steps are welcome."""
    try:
        config = read_config(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--resume: no run in {folder}; leave out --resume to start one") from error
    if "recipe" in config["training"]:
        raise ValueError(f"--resume: {folder} was made by --recipe {config['training']['recipe']}; give that again")
    asked, then = _flat(given), _flat(config)
    different = [
        f"{key} was {then.get(key)}, now {value}"
        for key, value in asked.items()
        if value is not None and key != "steps" and then.get(key) != value
    ]
    if config["training"].keys() != given["training"].keys():
        raise ValueError(
            f"run: {folder / CONFIG} needs the training settings {', '.join(given['training'])}; train again"
        )
    if different:
        raise ValueError(f"--resume: the run in {folder} had other settings: {'; '.join(different)}")
    if asked["steps"] is not None:
        config["training"]["steps"] = asked["steps"]
    return config


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run by their own names, as JSON would give them back."""
    nested = {k: config[k] for k in ("system", "tasks", "seed")}
    plain = json.loads(json.dumps({**config["task_options"], **config["options"], **config["training"]}))
    return {**nested, **plain}


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
