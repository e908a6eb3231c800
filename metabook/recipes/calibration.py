"""How sure every system of the book is, and how sure it may be: tables of classifiers and of regressors.

``python -m metabook.record calibration --jobs 2`` makes them; a stopped one goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.confidence import CLASSES, NUMBERS
from metabook.recipe import Measurement, Options, Recipe


def _shots(shots: int, names: tuple[str, ...], episodes: int, batch: int) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(f"{shots}-shot: {name}", {"shots": shots}, episodes=episodes, batch=batch, score=name)
        for name in names
    )


class Column(NamedTuple):
    """One set of tasks: what all systems share on it."""

    title: str
    tasks: str
    optimum: str | None
    tests: tuple[Measurement, ...]
    training: Options  #: of ``metabook.train``
    task_options: Options = {}
    train_options: Options = {}
    optimum_options: Options = {}
    shared: Options = {}  #: options of every system that learns


COLUMNS: dict[str, Column] = {
    "clusters": Column(
        "Gaussian clusters in the plane, five classes, trained on 5 shots",
        "clusters",
        "bayes-clusters",
        _shots(1, CLASSES, 1000, 100) + _shots(5, CLASSES, 1000, 100),
        training={"steps": 1000, "batch": 25, "lr": 3e-3, "schedule": "cosine"},
        train_options={"shots": 5, "queries": 5},
    ),
    "glyphs": Column(
        "printed letters, five classes, trained on 5 shots",
        "glyphs",
        None,
        _shots(1, CLASSES, 300, 10) + _shots(5, CLASSES, 300, 10),
        training={"steps": 250, "batch": 4, "lr": 2e-3},
        task_options={"queries": 5},
        train_options={"shots": 5},
        shared={"width": 16},
    ),
    "gp": Column(
        "draws of a Gaussian process of length-scale 0.5, trained on 3 to 15 points",
        "gp",
        "exact-gp",
        _shots(3, NUMBERS, 600, 100) + _shots(10, NUMBERS, 600, 100),
        training={"steps": 2000, "batch": 16, "lr": 3e-3, "schedule": "cosine"},
        task_options={"length_scale": 0.5},
        train_options={"shots": (3, 15), "queries": 30},
        optimum_options={"length_scale": 0.5},
    ),
}


class Row(NamedTuple):
    """One system of the tables: its options in each column it has a place in, and what its training needs else."""

    places: dict[str, Options]
    training: Options = {}
    trained: bool = True


_STEPS: Options = {"inner_steps": 3, "inner_lr": 0.1}
_SMALL: Options = {"inner_steps": 3, "inner_lr": 0.02}
_RULE: Options = {"hidden": 8, "width": 16}  #: rules of one LSTM a weight cost many times as much as the others
_FEW: Options = {"steps": 1000, "batch": 8}
_CODES: Options = {"latents": 16, "hidden": 32, "width": 40, "inner_lr": 0.5, "inner_steps": 3, "finetune_lr": 0.1}


def _both(classes: Options, numbers: Options, images: Options | None = None) -> dict[str, Options]:
    return {"clusters": classes, "gp": numbers} | ({} if images is None else {"glyphs": images})


_STEPPING = _both(_STEPS, _SMALL)
_NEAREST: dict[str, Options] = {"clusters": {}, "glyphs": {}}

ROWS: dict[str, Row] = {
    "joint": Row(_both({}, {})),
    "joint-fine-tuned": Row(_both({"fine_tune_lr": 0.1}, {"fine_tune_lr": 0.02}, {"fine_tune_lr": 0.1})),
    "nearest-pixels": Row(_NEAREST, trained=False),
    "hand-made-optimizer": Row(_both({"lr": 0.03, "steps": 20}, {}), trained=False),
    "maml": Row({**_STEPPING, "glyphs": {}}),
    "maml-first-order": Row(_STEPPING),
    "reptile": Row(_both({"inner_lr": 0.1, "inner_optimizer": "sgd"}, {})),
    "anil": Row({**_STEPPING, "glyphs": {}}),
    "meta-sgd": Row(_STEPPING),
    "maml-plus-plus": Row(_STEPPING),
    "lstm-meta-learner": Row(_both({"inner_steps": 2, **_RULE}, {"inner_steps": 2, **_RULE}), _FEW),
    "learned-optimizer": Row(_both({"steps": 2, **_RULE}, {"steps": 2, **_RULE}), _FEW),
    "optimization-engine": Row(_both({"inner_steps": 3, "inner_lr": 0.1}, {"inner_steps": 3})),
    "maml-regularised": Row(_STEPPING),
    "maml-meta-regularised": Row(_STEPPING),
    "prototypical": Row(_NEAREST),
    "matching": Row(_NEAREST),
    "matching-full-context": Row({"clusters": {}}),
    "relation": Row({"clusters": {}}),
    "snail": Row({"clusters": {"max_shots": 5, "filters": 16, "width": 16}}),
    "cavia": Row(_both({}, {})),
    "modulated-maml": Row(_STEPPING),
    "metagan": Row({"clusters": {"width": 16}}),
    "leo": Row({"clusters": {**_CODES, "finetune_steps": 2}}),
    "cnp": Row({"gp": {"width": 64}}),
    "neural-process": Row({"gp": {"width": 64}}),
    "attentive-cnp": Row({"gp": {"width": 64}}),
    "attentive-neural-process": Row({"gp": {"width": 64}}),
    "conv-cnp": Row({"gp": {"width": 32, "per_unit": 8, "dilations": (1, 2, 4)}}),
    "transformer-np": Row({"gp": {"width": 32, "layers": 3}}),
}


def _recipe(name: str, row: Row, column: Column, options: Options) -> Recipe:
    return Recipe(
        f"{name} on {column.title}",
        name,
        column.tasks,
        column.tests,
        training=({**column.training, **row.training},) if row.trained else (),
        options={**(column.shared if row.trained else {}), **options},
        task_options=column.task_options,
        train_options=column.train_options if row.trained else {},
    )


def _optimum(column: Column, name: str) -> Recipe:
    title = f"{name}: the optimum on {column.tasks}"
    return Recipe(
        title, name, column.tasks, column.tests, options=column.optimum_options, task_options=column.task_options
    )


RECIPES: dict[str, Recipe] = {
    **{f"calibration/{p}-optimum": _optimum(c, c.optimum) for p, c in COLUMNS.items() if c.optimum},
    **{
        f"calibration/{place}-{name}": _recipe(name, row, column, row.places[place])
        for place, column in COLUMNS.items()
        for name, row in ROWS.items()
        if place in row.places
    },
}
