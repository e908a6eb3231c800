"""Meta Networks: whole, without each of its parts, on other numbers of classes than trained for, and on fixed weights.

``python -m metabook.record meta-networks meta-networks-fixed meta-networks-ways --jobs 2`` makes the tables.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from metabook.recipe import Measurement, Options, Published, Recipe

SEEDS = (0, 1, 2)
SYSTEM = "meta-networks"
NETWORK: Options = {"backbone": "strided", "features": 32}
OMNIGLOT: Options = {"split": "small1", "held_out": "small2", "framed": True}
#: of Omniglot's training drawings, of which there are few; all of small1, as the tests are of alphabets of small2
HARDER: Options = {"flips": True, "distort": True, "composed": 0.5, "all_classes": True}
BUDGET: Options = {"batch": 12, "lr": 0.02, "optimizer": "muon", "schedule": "cosine"}
TEST = Measurement("5-way 1-shot", {"queries": 5}, episodes=600, batch=20)
WAYS = (5, 10, 15, 20)
MOST = max(WAYS)


FIXED: Options = {"fixed_base": True, "base_features": 256}


class Row(NamedTuple):
    """One learner of the table on printed letters."""

    title: str
    options: Options = {}
    steps: int = 150
    system: str = SYSTEM


ROWS = {
    "whole": Row("Meta Networks", steps=500),
    "no-fast-weights": Row("without fast weights in the base learner", {"fast": False}),
    "no-slow-weights": Row("without slow weights in the base learner", {"slow": False}),
    "no-task-weights": Row("without fast weights in the representation (MetaNet-)", {"summary": "none"}),
    "mean": Row("the mean of the gradients in place of the LSTM", {"summary": "mean"}),
    "more-task-weights": Row("with task weights in the base learner too (MetaNet+)", {"task_weights": True}),
    "short": Row("Meta Networks, trained as shortly as the rows without a part"),
    "own-base": Row("a base learner with a body of its own", {"base": "own"}),
    "prototypical": Row(
        "The prototypical network of the same convolutions",
        {"backbone": "strided", "norm": "group"},
        system="prototypical",
    ),
}

FIXED_ROWS = {
    "convolutions": Row("a base learner of fixed random convolutions", {"base": "own", **FIXED}, 250),
    "dense": Row("a base learner of fixed random dense layers", {"base": "mlp", **FIXED}, 250),
}


def _glyphs(row: Row) -> Recipe:
    title = row.title if row.title[0].isupper() else f"Meta Networks, {row.title}"
    return Recipe(
        f"{title}, on printed letters",
        row.system,
        "glyphs",
        (TEST,),
        training=({**BUDGET, "steps": row.steps},),
        options=(NETWORK if row.system == SYSTEM else {}) | row.options,
        train_options={"queries": 1},
        seeds=SEEDS,
    )


PUBLISHED = Published(
    "Meta Networks",
    "98.95 % (5-way), 97.0 % (20-way)",
    "Munkhdalai and Yu 2017, quoted second-hand",
    "1,200 training characters of all 50 alphabets in four rotations; test classes of any alphabets together; ours is "
    "trained on 20-way tasks",
)


def _omniglot(title: str, way: int, steps: int, tests: tuple[Measurement, ...], **more: Any) -> Recipe:
    """Trained on so many ways, 120 images in a step whatever their number, and tested on others."""
    return Recipe(
        title,
        SYSTEM,
        "omniglot",
        tests,
        training=({**BUDGET, "batch": 60 // way, "steps": steps},),
        options={**NETWORK, "max_way": MOST},
        task_options=OMNIGLOT,
        train_options={"way": way, "queries": 1, **HARDER},
        seeds=SEEDS,
        **more,
    )


def _ways(n: int) -> Recipe:
    """Tested on every number of classes."""
    tests = (Measurement(f"{k}-way 1-shot", {"way": k, "queries": 5}, episodes=2000 // k, batch=40 // k) for k in WAYS)
    return _omniglot(f"Meta Networks trained on {n}-way tasks of Omniglot's small1", n, 400, tuple(tests))


RECIPES: dict[str, Recipe] = {
    **{f"meta-networks/glyphs-{name}": _glyphs(row) for name, row in ROWS.items()},
    # 5-way tests gain from training on more classes, see the table of ways
    "meta-networks/omniglot-whole": _omniglot(
        "Meta Networks on three alphabets of Omniglot's small2, trained on small1",
        MOST,
        1_800,
        (TEST,),
        published=(PUBLISHED,),
    ),
    **{f"meta-networks-fixed/glyphs-{name}": _glyphs(row) for name, row in FIXED_ROWS.items()},
    **{f"meta-networks-ways/omniglot-{n}-way": _ways(n) for n in WAYS},
}
