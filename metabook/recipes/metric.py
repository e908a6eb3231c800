"""The table of the metric chapter: four systems and their variants on the same tasks, network, budget and seeds.

``python -m metabook.record comparison-metric --jobs 2`` makes the whole table, one run a core; a stopped one goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Published, Recipe

SEEDS = (0, 1, 2)
IMAGES = 120  #: images of a training step, in one task of twenty ways or four of five
WIDTH = 32
FIVE: Options = {"way": 5, "queries": 5}
MANY: Options = {"way": 20, "queries": 5}

_FIVE_WAY = Measurement("5-way 1-shot", FIVE, episodes=1000, batch=20)
_FIVE_SHOT = Measurement("5-way 5-shot", {**FIVE, "shots": 5}, episodes=1000, batch=20)
_TWENTY_WAY = Measurement("20-way 1-shot", MANY, episodes=400, batch=10)
_WITHIN = Measurement("within an alphabet, 20-way 1-shot", {**MANY, "within_alphabet": True}, episodes=400, batch=10)


class Column(NamedTuple):
    """One set of tasks of the table."""

    title: str
    tasks: str
    steps: int
    tests: tuple[Measurement, ...]  #: those of systems that take any number of ways
    task_options: Options = {}
    train_options: Options = {}


class Row(NamedTuple):
    """One system of the table."""

    system: str
    options: Options = {}
    five_ways: bool = False  #: it is trained on tasks of five ways, and scored on those only if its ways are fixed
    fixed: bool = False  #: its number of ways is
    trained: bool = True
    published: tuple[Published, ...] = ()


COLUMNS = {
    "glyphs": Column("printed letters of held-out scripts", "glyphs", 1000, (_FIVE_WAY, _FIVE_SHOT, _TWENTY_WAY)),
    "omniglot": Column(
        "three alphabets of Omniglot's small2, trained on small1",
        "omniglot",
        2000,
        (_FIVE_WAY, _FIVE_SHOT, _TWENTY_WAY, _WITHIN),
        {"split": "small1", "held_out": "small2"},
        {"flips": True, "distort": True},
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
            "98.8 % (5-way 1-shot), 99.7 % (5-way 5-shot), 96.0 % (20-way 1-shot)",
            "Snell et al. 2017, Table 1",
        ),
    ),
    "prototypical-cosine": Row("prototypical", {"distance": "cosine", "scale": 10.0}),
    "matching": Row(
        "matching",
        published=_omniglot(
            "matching networks",
            "98.1 % (5-way 1-shot), 98.9 % (5-way 5-shot), 93.8 % (20-way 1-shot)",
            "Vinyals et al. 2016, Table 1",
        ),
    ),
    "matching-full-context": Row("matching-full-context"),
    "relation": Row(
        "relation",
        five_ways=True,
        published=_omniglot(
            "relation networks",
            "99.6 ± 0.2 % (5-way 1-shot), 99.8 ± 0.1 % (5-way 5-shot)",
            "Sung et al. 2018, quoted second-hand",
        ),
    ),
    "snail": Row(
        "snail",
        five_ways=True,
        fixed=True,
        published=_omniglot(
            "SNAIL",
            "99.07 ± 0.16 % (5-way 1-shot), 99.78 ± 0.09 % (5-way 5-shot)",
            "Mishra et al. 2018, Table 1",
        ),
    ),
    "nearest-pixels": Row("nearest-pixels", trained=False),
}


def _training(steps: int, tasks: int) -> tuple[Options, ...]:
    """Two phases: ``steps`` updates, then half as many at a fifth of the rate."""
    return ({"steps": steps, "batch": tasks, "lr": 2e-3}, {"steps": steps // 2, "batch": tasks, "lr": 4e-4})


def _recipe(name: str, row: Row, column: Column, place: str) -> Recipe:
    ways = FIVE if row.five_ways else MANY
    each = ways["way"] * (ways["queries"] + 1)
    return Recipe(
        f"{name} on {column.title}",
        row.system,
        column.tasks,
        (_FIVE_WAY, _FIVE_SHOT) if row.fixed else column.tests,
        training=_training(column.steps, IMAGES // each) if row.trained else (),
        options={**row.options, "width": WIDTH} if row.trained else {},
        task_options=column.task_options,
        train_options={**column.train_options, **ways} if row.trained else {},
        seeds=SEEDS,
        published=row.published if place == "omniglot" else (),
    )


RECIPES: dict[str, Recipe] = {
    f"comparison-metric/{place}-{name}": _recipe(name, row, column, place)
    for place, column in COLUMNS.items()
    for name, row in ROWS.items()
}
