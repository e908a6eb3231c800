"""The table of neural processes: six systems and three lines that need no training, on draws from a Gaussian process.

``python -m metabook.record neural-process --jobs 2`` makes the whole table, one run a core; a stopped one goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Recipe

POINTS: Options = {"shots": (3, 30)}  #: a number for each batch; so tests have batches of one task
MUON: Options = {"batch": 16, "lr": 0.02, "optimizer": "muon", "schedule": "cosine"}
ADAM: Options = {"batch": 16, "lr": 1e-3, "schedule": "cosine"}
BEYOND: Options = {"x_range": (2.0, 6.0)}  #: where training ends, and as far again


def _test(label: str, score: str, tasks: Options, options: Options, episodes: int = 2000) -> Measurement:
    return Measurement(label, tasks, options, episodes=episodes, batch=1, score=score)


def _tests(kernels: bool, knows: bool) -> tuple[Measurement, ...]:
    """The columns of a row. kernels: with those that were not trained on; knows: it is told which they are."""
    plain = [
        ("log-likelihood", "log-likelihood", {}),
        ("coverage of 90 % intervals", "coverage", {}),
        ("joint log-likelihood", "joint log-likelihood", {}),
        ("log-likelihood, inputs 2 to 6", "log-likelihood", BEYOND),
        ("coverage, inputs 2 to 6", "coverage", BEYOND),
    ]
    others = [("Matérn 5/2", "matern52"), ("periodic", "periodic")] if kernels else []
    return tuple(_test(label, score, tasks, {}) for label, score, tasks in plain) + tuple(
        _test(f"{of}, {title}", of, {"kernel": kernel}, {"kernel": kernel} if knows else {}, 1000)
        for title, kernel in others
        for of in ("log-likelihood", "coverage")
    )


class Row(NamedTuple):
    """One line of the table."""

    title: str
    system: str
    steps: int = 0  #: of training; 0: there is none
    options: Options = {}
    told: bool = False  #: the length-scale stands beside every input
    kernels: bool = False  #: it is also tested on other kernels than that of training
    knows: bool = False  #: and told which they are
    budget: Options = MUON


ROWS = {
    "exact-told": Row(
        "the exact posterior, told the length-scale", "exact-gp", 0, {"told": True}, told=True, kernels=True, knows=True
    ),
    "exact": Row("the exact posterior, averaged over the length-scale", "exact-gp", kernels=True, knows=True),
    "fitted": Row("a Gaussian process with a fitted length-scale", "fitted-gp", kernels=True),
    "conv-cnp": Row("conv-cnp", "conv-cnp", 9_500, {"dilations": (1, 2, 4, 8, 16, 1)}, kernels=True),
    "transformer-np": Row("transformer-np", "transformer-np", 6_000, kernels=True),
    "attentive-cnp": Row("attentive-cnp", "attentive-cnp", 14_000, kernels=True),
    "attentive-neural-process": Row("attentive-neural-process", "attentive-neural-process", 9_000, {"samples": 100}),
    "neural-process": Row("neural-process", "neural-process", 12_000, {"samples": 100}),
    "cnp": Row("cnp", "cnp", 40_000, budget=ADAM),
}


def _recipe(row: Row) -> Recipe:
    return Recipe(
        f"Gaussian-process regression: {row.title}",
        row.system,
        "gp",
        _tests(row.kernels, row.knows),
        training=({"steps": row.steps, **row.budget},) if row.steps else (),
        options=row.options,
        task_options={**POINTS, **({"told": True} if row.told else {})},
    )


RECIPES: dict[str, Recipe] = {f"neural-process/gp-{name}": _recipe(row) for name, row in ROWS.items()}
