"""Recorded experiments on Omniglot and on printed letters."""

from __future__ import annotations

from typing import Any

from metabook.recipe import Measurement, Options, Published, Recipe

_FINN_IMAGES = Published(
    "MAML",
    "98.7 ± 0.4 % (5-way 1-shot)",
    "Finn et al. 2017, Table 1",
    "trained on 1,200 characters from all 50 alphabets with rotations, 60,000 steps of 32 tasks; strided convolutions",
)
_SNELL = Published(
    "prototypical networks",
    "98.8 % (5-way 1-shot), 99.7 % (5-way 5-shot), 96.0 % (20-way 1-shot)",
    "Snell et al. 2017, Table 1",
    "trained on 1,200 characters from all 50 alphabets with rotations, on 60-way tasks",
)
_LAKE = Published(
    "prototypical networks",
    "69.9 % (20-way 1-shot within an alphabet)",
    "Lake et al. 2019, minimal background set, quoted second-hand",
    "the 20 official runs on ten other alphabets; mean over both minimal sets",
)
_SMALL: Options = {"split": "small1", "held_out": "small2"}
_FIVE_WAY = Measurement("accuracy, 5-way 1-shot", episodes=1000, batch=20)
_FIVE_SHOT = Measurement("accuracy, 5-way 5-shot", {"shots": 5}, episodes=1000, batch=20)
_TWENTY_WAY = Measurement("accuracy, 20-way 1-shot", {"way": 20, "queries": 5}, episodes=400, batch=10)
_WITHIN = Measurement(  # katakana and Sanskrit; the third alphabet of the test, Tagalog, has fewer than 20 characters
    "accuracy, 20-way 1-shot within an alphabet",
    {"way": 20, "queries": 5, "within_alphabet": True},
    episodes=400,
    batch=10,
)
_AFTER_THREE = Measurement("accuracy, 5-way 1-shot, 3 steps", options={"inner_steps": 3}, episodes=1000, batch=20)


def _falling(steps: int, batch: int, **more: Any) -> tuple[Options, ...]:
    """Two phases: ``steps`` at rate 1e-3, then half as many at a fifth of it."""
    return (
        {"steps": steps, "batch": batch, "lr": 1e-3, **more},
        {"steps": steps // 2, "batch": batch, "lr": 2e-4, **more},
    )


_OMNIGLOT = {
    "omniglot-small-prototypical": Recipe(
        "Prototypical networks on Omniglot, trained on the five alphabets of small1, tested on three of small2",
        "prototypical",
        "omniglot",
        (_FIVE_WAY, _FIVE_SHOT, _TWENTY_WAY, _WITHIN),
        training=_falling(3000, 1),
        task_options=_SMALL,
        train_options={"way": 30, "queries": 5, "distort": True},
        published=(_SNELL, _LAKE),
    ),
    "omniglot-small-maml": Recipe(
        "MAML on Omniglot, trained on the five alphabets of small1, tested on three of small2",
        "maml",
        "omniglot",
        (_FIVE_WAY, _AFTER_THREE),
        training=2 * _falling(2000, 8, micro_batch=8),
        options={"width": 32, "inner_lr": 0.4},
        task_options=_SMALL,
        train_options={"queries": 5, "distort": True},
        published=(_FINN_IMAGES,),
    ),
    "omniglot-small-nearest-pixels": Recipe(
        "Nearest mean of raw pixels on Omniglot, three alphabets of small2",
        "nearest-pixels",
        "omniglot",
        (_FIVE_WAY, _FIVE_SHOT, _TWENTY_WAY, _WITHIN),
        task_options=_SMALL,
    ),
}

_GLYPHS = {
    "glyphs-prototypical": Recipe(
        "Prototypical networks on printed letters of held-out scripts",
        "prototypical",
        "glyphs",
        (_FIVE_WAY, _TWENTY_WAY),
        training=_falling(1000, 1),
        train_options={"way": 30, "queries": 5},
    ),
    "glyphs-maml": Recipe(
        "MAML on printed letters of held-out scripts",
        "maml",
        "glyphs",
        (_FIVE_WAY, _AFTER_THREE),
        training=_falling(1000, 8),
        options={"width": 32, "inner_lr": 0.4},
        train_options={"queries": 5},
    ),
    "glyphs-joint-fine-tuned": Recipe(
        "Joint training, then fine-tuning, on printed letters of held-out scripts",
        "joint-fine-tuned",
        "glyphs",
        (_FIVE_WAY,),
        training=_falling(800, 8),
        options={"width": 32, "fine_tune_lr": 0.1, "fine_tune_steps": 10},
        train_options={"queries": 5},
    ),
    "glyphs-nearest-pixels": Recipe(
        "Nearest mean of raw pixels on printed letters of held-out scripts",
        "nearest-pixels",
        "glyphs",
        (_FIVE_WAY, _TWENTY_WAY),
    ),
}

RECIPES: dict[str, Recipe] = {**_OMNIGLOT, **_GLYPHS}
