"""Letters completed from 1, 5 and 20 % of their pixels: a mean of codes, a mean for each query, and a guess by place.

``python -m metabook.record image-completion --jobs 2`` makes the table, one run a core; a stopped one goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Recipe

SHARES = {"1 %": 8, "5 %": 39, "20 %": 157}  #: of the 784 pixels of an image
FLOOR = 0.1  #: the least standard deviation: ink has no noise, so that without one the density has no bound
PLACES: dict[str, tuple[str, str, Options]] = {
    "glyphs": ("printed letters", "glyph-completion", {}),
    "omniglot": ("handwritten letters", "omniglot-completion", {"split": "small1", "held_out": "small2"}),
}


class Row(NamedTuple):
    """One system of the table."""

    steps: int
    options: Options = {}
    says: bool = True  #: how sure it is


ROWS = {
    "attentive-cnp": Row(2_000, {"floor": FLOOR, "waves": 6.0}),
    "cnp": Row(6_000, {"floor": FLOOR}),
    "joint": Row(2_000, {"width": 128}, says=False),  # ink by place, the support set unread
}


def _tests(says: bool) -> tuple[Measurement, ...]:
    mse = [Measurement(f"mse, {share}", {"shots": n, "queries": 400}, batch=20) for share, n in SHARES.items()]
    more = [t._replace(label=t.label.replace("mse", "log-likelihood"), score="log-likelihood") for t in mse]
    return (*mse, *(more if says else ()))


def _recipe(name: str, row: Row, title: str, tasks: str, task_options: Options) -> Recipe:
    return Recipe(
        f"Completing {title}: {name}",
        name,
        tasks,
        _tests(row.says),
        training=({"steps": row.steps, "batch": 16, "lr": 0.02, "optimizer": "muon", "schedule": "cosine"},),
        options=row.options,
        task_options=task_options,
        train_options={"shots": (8, 157), "queries": 200},
    )


RECIPES: dict[str, Recipe] = {
    f"image-completion/{place}-{name}": _recipe(name, row, *of)
    for place, of in PLACES.items()
    for name, row in ROWS.items()
}
