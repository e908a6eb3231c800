"""When is it worth writing the architecture too? Functions that call for different units, letters with moved pixels.

``python -m metabook.record metanetworks --jobs 2`` makes the tables; a stopped one goes on. Every task network for
functions has one hidden layer of 20 units and 61 weights; every system sees the same number of batches, and "long" ones
as many as the time of the slowest allows.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Recipe

SEEDS = (0, 1, 2)
MIXED = "sine,square,relu,identity,step"
LETTER_UNITS = "conv3,dense"
CLIP = 10.0  #: of the inner gradient, the same for all


class Row(NamedTuple):
    """One system of a table."""

    system: str
    options: Options = {}
    steps: int = 10_000  #: of training
    inner_steps: tuple[int, ...] = (0, 3)  #: of gradient descent on the weights of a task, a record each
    explored: int = 0  #: of the steps of training, the first so many compare all choices alike


#: A single unit, all of them in equal parts (the baselines that must never be left out), and a choice for each task
FUNCTIONS = {
    **{f"maml-{unit}": Row("maml", {"units": unit, "clip": CLIP}, inner_steps=(5,)) for unit in ("relu", "sine")},
    "maml-mixed": Row("maml", {"units": MIXED, "clip": CLIP}, inner_steps=(5,)),
    **{f"hypernetwork-{unit}": Row("hypernetwork", {"units": unit}) for unit in ("relu", "sine", "square", "step")},
    "hypernetwork-mixed": Row("hypernetwork", {"units": MIXED}),
    "hypernetwork-sine-long": Row("hypernetwork", {"units": "sine"}, 30_000),
    "hypernetwork-mixed-long": Row("hypernetwork", {"units": MIXED}, 30_000),
    "metanetworks": Row("metanetworks", explored=2_000),
    "metanetworks-straight-through": Row("metanetworks", {"choose": "straight-through"}),
    "metanetworks-soft": Row("metanetworks", {"choose": "soft"}),
}
LETTERS = {
    **{f"hypernetwork-{unit}": Row("hypernetwork", {"units": unit}, 1_200, (0,)) for unit in ("conv3", "dense")},
    "hypernetwork-mixed": Row("hypernetwork", {"units": LETTER_UNITS}, 1_200, (0,)),
    "metanetworks": Row("metanetworks", {"operations": LETTER_UNITS}, 1_200, (0,), explored=300),
}


def _phases(row: Row, budget: Options) -> tuple[Options, ...]:
    """Training; a system that explores does so at a constant rate, then the schedule begins."""
    main = {**budget, "schedule": "cosine", "steps": row.steps - row.explored}
    if not row.explored:
        return (main,)
    first = {**budget, "steps": row.explored, "options": {"exploration": 1.0}}
    return (first, {**main, "options": {"exploration": 0.1}})


def _recipe(title: str, tasks: str, row: Row, steps: int, budget: Options, test: Measurement) -> Recipe:
    return Recipe(
        f"{title}, {steps} inner steps",
        row.system,
        tasks,
        (test,),
        training=_phases(row, budget),
        options={**row.options, "inner_steps": steps},
        validated=True,
        seeds=SEEDS,
    )


RECIPES: dict[str, Recipe] = {
    f"metanetworks/functions-{name}-{steps}": _recipe(
        f"{name} on functions that call for different units",
        "function-mixture",
        row,
        steps,
        {"batch": 32, "lr": 2e-3},
        Measurement("mse", {"queries": 100}, episodes=2000, batch=100),
    )
    for name, row in FUNCTIONS.items()
    for steps in row.inner_steps
} | {
    f"metanetworks/letters-{name}": _recipe(
        f"{name} on letters, half of the tasks with moved pixels",
        "permuted-glyphs",
        row,
        steps,
        {"batch": 8, "lr": 1e-3},
        Measurement("accuracy, 5-way 1-shot", {}, episodes=1000, batch=50),
    )
    for name, row in LETTERS.items()
    for steps in row.inner_steps
}
