"""One table for a chapter: every system on the same tasks, network, budget and seeds.

``python -m metabook.record comparison --jobs 2`` makes the whole table, one run a core; a stopped one goes on.
With ``--scale full`` the runs have the length and the width of the papers', for a GPU.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Recipe

SEEDS = (0, 1, 2)


class Column(NamedTuple):
    """One set of tasks of the table: what all systems share on it."""

    title: str
    tasks: str
    tests: tuple[Measurement, ...]
    budget: Options  #: of ``metabook.train``: the same number of tasks for every system
    full: Options  #: the same at full scale
    task_options: Options = {}
    train_options: Options = {}
    width: int | None = None  #: of the network; the papers' own at full scale


def _characters(title: str, tasks: str, tests: tuple[Measurement, ...], **task_options: str) -> Column:
    return Column(
        title,
        tasks,
        tests,
        budget={"steps": 500, "batch": 4, "lr": 2e-3},
        full={"steps": 60_000, "batch": 32, "lr": 1e-3},
        task_options=dict(task_options),
        train_options={"queries": 5},
        width=32,
    )


_FIVE_WAY = Measurement("accuracy, 5-way 1-shot", {"queries": 5}, episodes=600, batch=20)
_FIVE_SHOT = Measurement("accuracy, 5-way 5-shot", {"shots": 5, "queries": 5}, episodes=600, batch=20)

COLUMNS: dict[str, Column] = {
    "sinusoids": Column(
        "sinusoids",
        "sinusoids",
        (
            Measurement("mse, 5-shot", {"shots": 5, "queries": 100}, episodes=1000),
            Measurement("mse, 10-shot", {"shots": 10, "queries": 100}, episodes=1000),
        ),
        budget={"steps": 4_000, "batch": 25, "lr": 1e-3},
        full={"steps": 70_000, "batch": 25, "lr": 1e-3},
        train_options={"shots": 5, "queries": 10},
    ),
    "glyphs": _characters("printed letters", "glyphs", (_FIVE_WAY, _FIVE_SHOT)),
    "omniglot": _characters(
        "Omniglot, small1 to three alphabets of small2",
        "omniglot",
        (_FIVE_WAY, _FIVE_SHOT),
        split="small1",
        held_out="small2",
    ),
}


class Row(NamedTuple):
    """One system of the table: its options, and what its training needs to be other than the others'."""

    system: str
    vectors: Options | None = {}  #: options on sinusoids; None: it is not for regression
    images: Options | None = {}
    training: Options = {}  #: in place of the column's own, for example a rate
    trained: bool = True


_TWO: Options = {"inner_steps": 2}  #: longer inner loops would take several times as long as the others
_RULE: Options = {"hidden": 8}

ROWS: dict[str, Row] = {
    "maml": Row("maml"),
    "maml-first-order": Row("maml-first-order"),
    "reptile": Row("reptile"),
    "anil": Row("anil"),
    "meta-sgd": Row("meta-sgd"),
    "maml-plus-plus": Row("maml-plus-plus", _TWO, _TWO),
    "lstm-meta-learner": Row("lstm-meta-learner", {**_TWO, **_RULE}, {**_TWO, **_RULE}),
    "learned-optimizer": Row("learned-optimizer", _RULE, {"steps": 2, **_RULE}),
    "optimization-engine": Row("optimization-engine", _TWO, _TWO),
    "maml-regularised": Row("maml-regularised"),
    "maml-meta-regularised": Row("maml-meta-regularised"),
    "joint": Row("joint"),
    "joint-fine-tuned": Row("joint-fine-tuned", {}, {"fine_tune_lr": 0.1}),
    "nearest-pixels": Row("nearest-pixels", None, {}, trained=False),
}


def _recipe(name: str, row: Row, column: Column, options: Options, full: bool) -> Recipe:
    sized = {"width": column.width} if column.width is not None and row.trained and not full else {}
    budget = column.full if full else column.budget
    return Recipe(
        f"{name} on {column.title}",
        row.system,
        column.tasks,
        column.tests,
        training=({**budget, **row.training},) if row.trained else (),
        options={**options, **sized},
        task_options=column.task_options,
        train_options=column.train_options if row.trained else {},
        seeds=SEEDS,
    )


RECIPES: dict[str, Recipe] = {
    f"comparison{'-full' * full}/{place}-{name}": _recipe(name, row, column, options, full)
    for full in (False, True)
    for place, column in COLUMNS.items()
    for name, row in ROWS.items()
    if (options := row.vectors if place == "sinusoids" else row.images) is not None
}
