"""LEO beside other learners of the same vectors, those of the character network that ships with the package.

``python -m metabook.record leo --jobs 2`` makes the table; a stopped one goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Recipe

SEEDS = (0, 1, 2)
BUDGET: Options = {"steps": 500, "batch": 16, "lr": 1e-3, "schedule": "cosine", "validation_episodes": 400}
TEST = Measurement("5-way 1-shot", episodes=2000, batch=100)
LINEAR: Options = {"layers": ()}
STEPS: Options = {"inner_steps": 5}


class Row(NamedTuple):
    """One learner of the table."""

    title: str
    system: str
    options: Options = {}
    trained: bool = True


ROWS = {
    "leo": Row("LEO", "leo"),
    "maml": Row("MAML of a linear classifier", "maml", {**LINEAR, **STEPS, "inner_lr": 20.0}),
    "maml-hidden-layer": Row("MAML with a hidden layer", "maml", {"layers": (64,), **STEPS, "inner_lr": 2.0}),
    "anil": Row("ANIL: a learned linear map, steps on the classifier", "anil", {**LINEAR, **STEPS, "inner_lr": 20.0}),
    "learned-metric": Row("Prototypes after a learned linear map", "prototypical", {**LINEAR, "scale": 10.0}),
    "nearest-mean": Row("Nearest class mean", "nearest-pixels", trained=False),
}

RECIPES: dict[str, Recipe] = {
    f"leo/glyphs-{name}": Recipe(
        f"{row.title}, on vectors of printed letters",
        row.system,
        "glyph-embeddings",
        (TEST,),
        training=(BUDGET,) if row.trained else (),
        options=row.options,
        validated=row.trained,
        seeds=SEEDS,
    )
    for name, row in ROWS.items()
}
