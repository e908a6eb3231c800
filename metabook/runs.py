"""A run folder: what was trained, on what, with which settings; enough to rebuild the learner and its tasks.

``run.json`` says system, tasks, options and seed; ``checkpoint.pt`` and ``history.json`` are written by ``train``.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch

from metabook.checkpoint import load
from metabook.files import write_json
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood, Regression
from metabook.registry import build, make_tasks
from metabook.tasks.protocol import Tasks

FORMAT = 1
CONFIG, CHECKPOINT, HISTORY = "run.json", "checkpoint.pt", "history.json"
KINDS: dict[str, type[Classification | Regression]] = {"classification": Classification, "regression": Regression}
FIELDS: dict[str, type] = {
    "system": str,
    "options": dict,
    "tasks": str,
    "task_options": dict,
    "seed": int,
    "training": dict,
    "x_shape": list,
    "likelihood": dict,
    "versions": dict,
}


class Run(NamedTuple):
    """A trained learner, the tasks it is to be tested on, and the content of ``run.json``."""

    learner: MetaLearner
    tasks: Tasks
    config: dict[str, Any]


def make_config(
    system: str,
    options: Mapping[str, Any],
    tasks_name: str,
    task_options: Mapping[str, Any],
    tasks: Tasks,
    *,
    seed: int,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``run.json`` for a run about to start: plain values only."""
    from metabook import __version__

    kind = "classification" if isinstance(tasks.likelihood, Classification) else "regression"
    return {
        "format": FORMAT,
        "system": system,
        "options": dict(options),
        "tasks": tasks_name,
        "task_options": dict(task_options),
        "seed": seed,
        "training": dict(training),
        "x_shape": list(tasks.x_shape),
        "likelihood": {"kind": kind, "size": tasks.likelihood.size},
        "versions": {"metabook": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
    }


def write_config(folder: str | os.PathLike[str], config: dict[str, Any]) -> Path:
    """Write ``run.json`` into ``folder``, whole or not at all. Raises OSError if it cannot be written."""
    return write_json(Path(folder) / CONFIG, config)


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The checked content of ``folder/run.json``.

    Raises FileNotFoundError if there is none, ValueError if it is damaged or of another format.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"run: no {CONFIG} in {folder}; give a folder that metabook train has made")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"run: {path} is not JSON ({error}); mend it or train again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"run: {path} is not a run of format {FORMAT}; train again with this version")
    for name, kind in FIELDS.items():
        if not isinstance(config.get(name), kind) or isinstance(config[name], bool):
            raise ValueError(f"run: {path} needs {name!r}, a {kind.__name__}; mend it or train again")
    _trained_likelihood(config, path)
    return config


def _trained_likelihood(config: Mapping[str, Any], path: Path) -> Likelihood:
    said = config["likelihood"]
    if said.get("kind") not in KINDS or type(said.get("size")) is not int:
        raise ValueError(f"run: {path} needs a likelihood with kind {' or '.join(KINDS)} and a whole size; train again")
    return KINDS[said["kind"]](said["size"])


def load_learner(
    folder: str | os.PathLike[str],
    *,
    tasks: Tasks | None = None,
    likelihood: Likelihood | None = None,
    options: Mapping[str, Any] | None = None,
) -> MetaLearner:
    """The trained learner of a run folder, on the CPU.

    tasks: what it will be used on, checked against what it was trained on; likelihood: the same without tasks, for
        example ``Classification(7)``. A system without a fixed last layer takes another number of classes.
    options: options of the system to change, such as ``inner_steps``; they must leave the weights' shapes alone.

    Raises FileNotFoundError if the run or its checkpoint is not there, ValueError if either is damaged or does not fit.
    """
    config = read_config(folder)
    trained = _trained_likelihood(config, Path(folder) / CONFIG)
    x_shape = tuple(config["x_shape"])
    if tasks is not None:
        likelihood = tasks.likelihood
        if tuple(tasks.x_shape) != x_shape:
            raise ValueError(f"tasks: inputs of shape {tuple(tasks.x_shape)}; the run was trained on {x_shape}")
    wanted = trained if likelihood is None else likelihood
    if type(wanted) is not type(trained):
        raise ValueError(f"tasks: {wanted!r} given; the run was trained on {trained!r}")

    def learner_for(size_of: Likelihood) -> MetaLearner:
        described = cast(Tasks, SimpleNamespace(likelihood=size_of, x_shape=x_shape))
        return build(config["system"], described, seed=config["seed"], **{**config["options"], **(options or {})})

    learner = learner_for(wanted)
    if wanted.size != trained.size and _shapes(learner) != _shapes(learner_for(trained)):
        what = "classes" if isinstance(trained, Classification) else "target dimensions"
        raise ValueError(
            f"way: {wanted.size} {what} given; this {config['system']} was trained on {trained.size} and its last "
            f"layer is fixed: use {trained.size}, or a system without a fixed last layer such as prototypical"
        )
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(
            f"run: no {CHECKPOINT} in {folder}; the training was stopped before the first was written"
        )
    return load(learner, path).eval()


def _shapes(learner: MetaLearner) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in learner.state_dict().items()}


def load_run(folder: str | os.PathLike[str], *, part: str = "test") -> Run:
    """The learner of a run folder with its best weights, and one part of the tasks it was trained for.

    part: train, validation or test.

    Raises FileNotFoundError if the run or its checkpoint is not there, ValueError if either is damaged, and what the
    data set raises when it cannot be read.
    """
    config = read_config(folder)
    tasks = make_tasks(config["tasks"], part=part, **config["task_options"])
    return Run(load_learner(folder, tasks=tasks), tasks, config)
