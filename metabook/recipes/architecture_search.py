"""One architecture for all tasks or one for each, by search; weights from a learned start or written.

``python -m metabook.record architecture-search --jobs 2`` makes the table; a stopped one goes on. A cell of one edge
has as many architectures as operations, so the fixed rows are the whole space. A searched row compares all operations
in every step: it runs as many networks as the five fixed rows of its kind together. The soft row mixes them in one.
"""

from __future__ import annotations

from metabook.recipe import Measurement, Options, Recipe

UNITS = ("sine", "square", "relu", "identity", "step")
STEPS, EXPLORED = 3_000, 600  #: of training; of these, in searched rows, the first that compare all choices alike
INNER_STEPS = 5  #: from a learned start; written weights are used as they are
BUDGET: Options = {"batch": 32, "lr": 0.01, "optimizer": "muon"}
TEST = Measurement("mse", {"queries": 100})
#: What was trained as a mixture, made discrete for the test
DISCRETE = Measurement("mse, made discrete", {"queries": 100}, {"choose": "straight-through"})

FIXED: dict[str, tuple[str, Options]] = {
    **{f"maml-{u}": ("maml", {"units": u, "clip": 10.0, "inner_steps": INNER_STEPS}) for u in UNITS},
    **{f"hypernetwork-{u}": ("hypernetwork", {"units": u}) for u in UNITS},
}
START: Options = {"operations": ",".join(UNITS), "written": False, "inner_steps": INNER_STEPS}
WRITTEN: Options = {"operations": ",".join(UNITS)}
SEARCHED: dict[str, Options] = {
    "shared-start": {**START, "shared": True},
    "task-start": START,
    "shared-written": {**WRITTEN, "shared": True},
    "task-written": WRITTEN,
}
SOFT: Options = {**START, "shared": True, "choose": "soft"}  # the relaxation of DARTS


def _recipe(name: str, system: str, options: Options, *, explored: int = 0, soft: bool = False) -> Recipe:
    main: Options = {**BUDGET, "schedule": "cosine", "steps": STEPS - explored}
    first: Options = {**BUDGET, "steps": explored, "options": {"exploration": 1.0}}
    return Recipe(
        f"{name} on functions that call for different units",
        system,
        "function-mixture",
        (TEST, DISCRETE) if soft else (TEST,),
        training=(first, {**main, "options": {"exploration": 0.1}}) if explored else (main,),
        options=options,
        validated=True,
        seeds=(0, 1, 2),
    )


RECIPES: dict[str, Recipe] = {
    f"architecture-search/functions-{recipe.title.split()[0]}": recipe
    for recipe in (
        *(_recipe(name, system, options) for name, (system, options) in FIXED.items()),
        *(_recipe(name, "metanetworks", options, explored=EXPLORED) for name, options in SEARCHED.items()),
        _recipe("shared-start-soft", "metanetworks", SOFT, soft=True),
    )
}
