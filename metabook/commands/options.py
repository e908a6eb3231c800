"""Arguments that several commands share, and how they become options of task families and systems."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping, Sequence
from typing import Any

from metabook.registry import SYSTEMS, TASKS, check_options, find

ALIASES = {"sinusoid": "sinusoids"}
INHERITED = ("way", "shots", "queries", "size", "framed")  #: what a run's own tasks pass on to others


def add_command(commands: Any, name: str, *, help: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """A parser for one command, with examples at the end of its --help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """What describes the tasks. Nothing has a default here: an argument not given is left to the task family."""
    group = parser.add_argument_group("the tasks")
    group.add_argument("--way", type=int, metavar="N", help="classes in a task")
    group.add_argument(
        "--shot", "--shots", dest="shots", type=int, metavar="K", help="support examples a class (regression: a task)"
    )
    group.add_argument("--queries", type=int, metavar="Q", help="query examples a class (regression: a task)")
    group.add_argument("--split", metavar="SPLIT", help="omniglot: small1, small2, background or evaluation")
    group.add_argument(
        "--held-out",
        metavar="SPLIT",
        help="omniglot: test on the alphabets of this split that --split does not have, for example small2",
    )
    group.add_argument(
        "--within-alphabet",
        action="store_true",
        default=None,
        help="omniglot, glyphs: all classes of a task from one script",
    )


def add_set_argument(parser: argparse._ActionsContainer, what: str) -> None:
    """--set KEY=VALUE, any number of times."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=what)


def add_machine_arguments(parser: argparse._ActionsContainer) -> None:
    """--device."""
    parser.add_argument("--device", metavar="DEVICE", help="cuda, mps or cpu; the first there is when not given")


def task_name(given: str) -> str:
    """The registered name: ``sinusoid`` is ``sinusoids``; ``folder:`` needs a path. Raises ValueError if unknown."""
    name = ALIASES.get(given, given)
    family, _, place = name.partition(":")
    find("tasks", family, TASKS)
    if place and family != "folder":
        raise ValueError(f"tasks: {given!r} given; only folder takes a path, as in folder:PATH")
    return name


def task_options(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The task options given on the command line. Raises ValueError for one that the family does not have."""
    family = name.partition(":")[0]
    known = TASKS[family].options()
    options: dict[str, Any] = {}
    for key in ("way", "shots", "queries", "split", "held_out", "within_alphabet"):
        value = getattr(args, key)
        if value is not None:
            if key not in known:
                raise ValueError(f"--{key.replace('_', '-')}: {family} has no such option; it has {', '.join(known)}")
            options[key] = value
    return options


def settings(pairs: Sequence[str], system: str, tasks: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What --set gave, split into options of the system and options of the tasks.

    Raises ValueError for a pair without "=", a key given twice, one that neither has, and text for true or false.
    """
    family = tasks.partition(":")[0]
    of_system, of_tasks = find("system", system, SYSTEMS).options(), TASKS[family].options()
    chosen: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise ValueError(f"--set: {pair!r} given; write KEY=VALUE, for example inner_lr=0.1")
        if key in chosen[0] or key in chosen[1]:
            raise ValueError(f"--set: {key} given twice; give it once")
        if key in of_system:
            chosen[0][key] = _value(key, text, of_system[key])
        elif key in of_tasks:
            chosen[1][key] = _value(key, text, of_tasks[key])
        else:
            check_options(f"{system} or {family}", {key: text}, {**of_system, **of_tasks})
    return chosen


def _value(key: str, text: str, default: Any) -> Any:
    """``text`` as a Python value: a number, a tuple, true, false, none, or the text itself.

    An option whose default is a text takes every text as it stands.
    """
    if isinstance(default, str):
        return text
    simple: Mapping[str, Any] = {"true": True, "false": False, "none": None}
    if text.lower() in simple:
        return simple[text.lower()]
    if isinstance(default, bool):
        raise ValueError(f"{key}: {text!r} given; write {key}=true or {key}=false")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
