"""Tasks of several kinds, families of functions and domains of letters: a code of the task against a common start.

``python -m metabook.record task-codes character-domains --jobs 2`` makes both tables; a stopped one goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Published, Recipe

MODES = {"two": 2, "three": 3, "five": 5}  #: families in the mixture
WIDTH: Options = {"width": 100}
BUDGET: Options = {"steps": 12_000, "batch": 50, "lr": 0.02, "optimizer": "muon", "schedule": "cosine", "compile": True}
TEST = Measurement("mse", {"queries": 100}, episodes=4000, batch=100)


class Row(NamedTuple):
    """One system of the table."""

    system: str
    options: Options = {}
    training: Options = {}  #: in place of the budget's own
    trained: bool = True
    published: tuple[str, str, str] | None = None  #: mean squared error with two, three and five families


ROWS = {
    "maml": Row("maml", WIDTH, published=("1.085", "1.231", "1.668")),
    "cavia": Row("cavia", WIDTH, {"compile": False}),  # its start asks for a gradient, which cannot be compiled
    "modulated-maml": Row(
        "modulated-maml", {**WIDTH, "hidden": 128, "code": 64}, published=("0.336", "0.444", "0.868")
    ),
    "optimum": Row("bayes-functions", trained=False),
}


def _recipe(name: str, row: Row, column: int, place: str) -> Recipe:
    modes: Options = {"modes": MODES[place]}
    beside = Published(
        name,
        f"mse {row.published[column]}" if row.published else "",
        "Vuorio et al. 2019, from memory, not checked against the paper",
        "another network, an encoder that reads the points in order, five inner steps, another length of training",
    )
    return Recipe(
        f"{name} on functions of {place} families",
        row.system,
        "function-families",
        (TEST,),
        training=({**BUDGET, **row.training},) if row.trained else (),
        options=row.options if row.trained else modes,
        task_options=modes,
        published=(beside,) if row.published else (),
    )


FAMILIES: dict[str, Recipe] = {
    f"task-codes/{place}-{name}": _recipe(name, row, column, place)
    for column, place in enumerate(MODES)
    for name, row in ROWS.items()
}

SPLIT: Options = {"split": "small1", "held_out": "small2"}
DOMAINS: dict[str, tuple[str, Options]] = {"printed": ("glyphs", {}), "handwritten": ("omniglot", SPLIT)}


def _letters(title: str, system: str, tasks: str, options: Options, domains: tuple[str, ...]) -> Recipe:
    tests = tuple(
        Measurement(f"accuracy, {domain}", {"queries": 5, **of}, tasks=family, episodes=600, batch=20)
        for domain, (family, of) in DOMAINS.items()
        if domain in domains
    )
    return Recipe(
        title,
        system,
        tasks,
        tests,
        training=({"steps": 1000, "batch": 4, "lr": 2e-3, "schedule": "cosine"},),
        options={"width": 16},
        task_options=options,
        train_options={"queries": 5},
        seeds=(0, 1, 2),
    )


LETTERS: dict[str, Recipe] = {
    **{
        f"character-domains/letters-{system}": _letters(
            f"{system}, printed and handwritten letters", system, "character-domains", SPLIT, tuple(DOMAINS)
        )
        for system in ("maml", "cavia", "modulated-maml")
    },
    **{
        f"character-domains/letters-maml-{domain}": _letters(
            f"MAML for {domain} letters alone", "maml", family, options, (domain,)
        )
        for domain, (family, options) in DOMAINS.items()
    },
}
RECIPES: dict[str, Recipe] = {**FAMILIES, **LETTERS}
