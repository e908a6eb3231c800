"""The table of the metric chapter: four systems on the same tasks, with the same network and budget.

``python -m metabook.record comparison-metric --jobs 2`` makes the whole table, one run a core; a stopped one goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Published, Recipe

SEEDS = (0, 1, 2)
NETWORK: Options = {"backbone": "strided"}
MANY: Options = {"way": 60, "queries": 1}  #: 120 images in one task
FIVE: Options = {"way": 5, "queries": 1}  #: ten images in each of twelve tasks
BUDGET: Options = {"lr": 0.06, "optimizer": "muon", "schedule": "cosine"}

_FIVE_WAY = Measurement("5-way 1-shot", {"way": 5, "queries": 5}, episodes=1000, batch=20)
_TWENTY_WAY = Measurement("20-way 1-shot", {"way": 20, "queries": 5}, episodes=300, batch=10)
_WITHIN = _TWENTY_WAY._replace(
    label="20-way 1-shot within an alphabet", task_options={"way": 20, "queries": 5, "within_alphabet": True}
)


class Column(NamedTuple):
    """One set of tasks of the table."""

    title: str
    tasks: str
    steps: int  #: of training, with 120 images each
    tests: tuple[Measurement, ...]  #: those of systems that take any number of ways
    task_options: Options = {}
    train_options: Options = {}


class Row(NamedTuple):
    """One system of the table."""

    system: str
    options: Options = {}
    five_ways: bool = False  #: it is trained on tasks of five ways
    fixed: bool = False  #: its number of ways is that of its training
    trained: bool = True
    once: tuple[str, ...] = ()  #: the columns for which it is trained once, not three times
    published: tuple[Published, ...] = ()


COLUMNS = {
    "glyphs": Column("printed letters of held-out scripts", "glyphs", 400, (_FIVE_WAY, _TWENTY_WAY)),
    "omniglot": Column(
        "three alphabets of Omniglot's small2, trained on small1",
        "omniglot",
        1200,
        (_FIVE_WAY, _TWENTY_WAY, _WITHIN),
        {"split": "small1", "held_out": "small2", "framed": True},
        {"flips": True, "distort": True, "composed": 0.5, "all_classes": True},
    ),
}


def _omniglot(system: str, accuracies: str, source: str) -> tuple[Published, ...]:
    differs = "1,200 training characters of all 50 alphabets in four rotations; test classes of any alphabets together"
    return (Published(system, accuracies, source, differs),)


ROWS = {
    "prototypical": Row(
        "prototypical",
        published=_omniglot(
            "prototypical networks",
            "98.8 % (5-way 1-shot), 96.0 % (20-way 1-shot)",
            "Snell et al. 2017, Table 1",
        ),
    ),
    "prototypical-cosine": Row("prototypical", {"distance": "cosine"}, once=("glyphs", "omniglot")),
    "matching": Row(
        "matching",
        published=_omniglot(
            "matching networks",
            "98.1 % (5-way 1-shot), 93.8 % (20-way 1-shot)",
            "Vinyals et al. 2016, Table 1",
        ),
    ),
    "relation": Row(
        "relation",
        five_ways=True,
        published=_omniglot(
            "relation networks",
            "99.6 ± 0.2 % (5-way 1-shot)",
            "Sung et al. 2018, quoted second-hand",
        ),
    ),
    "snail": Row(
        "snail",
        five_ways=True,
        fixed=True,
        once=("omniglot",),
        published=_omniglot(
            "SNAIL",
            "99.07 ± 0.16 % (5-way 1-shot), 97.64 ± 0.30 % (20-way 1-shot)",
            "Mishra et al. 2018, Table 1",
        ),
    ),
    "nearest-pixels": Row("nearest-pixels", trained=False),
    "modified-hausdorff": Row("modified-hausdorff", trained=False, once=("omniglot",)),
}


def _recipe(name: str, row: Row, column: Column, place: str) -> Recipe:
    tasks = {"batch": 12} if row.five_ways else {"batch": 1}
    return Recipe(
        f"{name} on {column.title}",
        row.system,
        column.tasks,
        (_FIVE_WAY,) if row.fixed else column.tests,
        training=({**BUDGET, "steps": column.steps, **tasks},) if row.trained else (),
        options={**NETWORK, **row.options} if row.trained else {},
        task_options=column.task_options,
        train_options={**column.train_options, **(FIVE if row.five_ways else MANY)} if row.trained else {},
        seeds=SEEDS[:1] if place in row.once else SEEDS,
        published=row.published if place == "omniglot" else (),
    )


RECIPES: dict[str, Recipe] = {
    f"comparison-metric/{place}-{name}": _recipe(name, row, column, place)
    for place, column in COLUMNS.items()
    for name, row in ROWS.items()
}
