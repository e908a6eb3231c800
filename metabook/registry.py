"""The one list of systems and task distributions that tests, benchmark, command line and results iterate over."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch

from metabook import embeddings
from metabook.device import make_generator
from metabook.learner import MetaLearner
from metabook.systems import baselines, generative, metanetworks, metric, optimization, references
from metabook.systems.entry import System
from metabook.tasks import families
from metabook.tasks.families import TaskFamily
from metabook.tasks.protocol import Tasks

SYSTEMS: dict[str, System] = {
    **optimization.SYSTEMS,
    **metric.SYSTEMS,
    **generative.SYSTEMS,
    **metanetworks.SYSTEMS,
    **baselines.SYSTEMS,
}
#: What stands beside the systems in a table of results and is none of them: exact optima, generators of drawings
REFERENCES: dict[str, System] = references.SYSTEMS
TASKS: dict[str, TaskFamily] = {**families.TASKS, **embeddings.TASKS}


def find(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """``known[name]``; else ValueError that lists the names and suggests the nearest."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{kind}: {name!r} given; known are {', '.join(known)}{hint}")
    return known[name]


def find_system(name: str) -> System:
    """The system or the reference of that name. Raises ValueError for an unknown one."""
    entry: System = REFERENCES[name] if name in REFERENCES else find("system", name, SYSTEMS)
    return entry


def check_options(owner: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that ``owner`` does not have."""
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: not an option of {owner}; it has {', '.join(known) or 'none'}")


def build(system: str, tasks: Tasks, *, seed: int = 0, **options: Any) -> MetaLearner:
    """A new learner of a registered system, of sensible size for ``tasks``; ``seed`` fixes its first weights.

    system: a name in ``SYSTEMS`` or in ``REFERENCES``.

    Options are its own (``find_system(system).options()``), for example ``inner_lr``.

    Raises ValueError for an unknown system or option, or a system that cannot learn this kind of target.
    """
    entry = find_system(system)
    check_options(system, options, entry.options())
    if not isinstance(tasks.likelihood, entry.kinds):
        kinds = " or ".join(k.__name__.lower() for k in entry.kinds)
        raise ValueError(f"system: {system} does {kinds}; these tasks are {type(tasks.likelihood).__name__.lower()}")
    make_generator(torch.device("cpu"), seed)  # checks the seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return entry.build(tasks.x_shape, tasks.likelihood, **options)


def make_tasks(name: str, *, part: str = "train", **options: Any) -> Tasks:
    """A registered task distribution; ``part`` is train, validation or test, whose tasks are disjoint.

    Options are the family's own (``TASKS[name].options()``), for example ``way`` and ``shots``; a folder of images is
    ``folder:PATH``.

    Raises ValueError for an unknown name, part or option, and what the data set raises when it cannot be read.
    """
    family_name, _, place = name.partition(":")
    family: TaskFamily = find("tasks", family_name, TASKS)
    if place:
        options = {"path": place, **options}
    check_options(family_name, options, family.options())
    if family_name == "folder" and "path" not in options:
        raise ValueError("tasks: folder given without a path; write folder:PATH, one folder of images a class in it")
    return family.build(part, **options)
