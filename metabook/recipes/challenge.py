"""The recipe for the Omniglot Challenge's minimal setting, and the same recipe without one of its parts at a time.

``python -m metabook.record challenge --jobs 2`` makes the table; a stopped one goes on. To train by the recipe alone:
``metabook train --recipe omniglot-challenge --split small2 --held-out small1``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from metabook.recipe import Measurement, Options, Published, Recipe

COPIES = 16
_SMALL: dict[str, Options] = {
    "small1": {"split": "small1", "held_out": "small2"},
    "small2": {"split": "small2", "held_out": "small1"},
}
_WITHIN: Options = {"way": 20, "queries": 5, "within_alphabet": True}


def _test(label: str, options: Options, *, views: int = 0) -> Measurement:
    return Measurement(label, options, episodes=100 if views else 400, batch=20, views=views)


TESTS = (
    _test("within an alphabet, 20-way 1-shot", _WITHIN),
    _test(f"the same, mean of {COPIES} copies", _WITHIN, views=COPIES),
    _test("between alphabets, 20-way 1-shot", {"way": 20, "queries": 5}),
    _test("between alphabets, 5-way 1-shot", {"way": 5, "queries": 5}),
)
OPTIONS: Options = {"backbone": "strided", "norm": "running", "distance": "cosine", "scale": 10.0}
DRAWN: Options = {"size": 36, "framed": True}  #: how every drawing is made small
TRAINED_ON: Options = {
    "way": 60,
    "queries": 1,
    "flips": True,
    "distort": True,
    "composed": 0.5,
    "all_classes": True,
}
TRAINING: Options = {"steps": 1850, "batch": 1, "lr": 0.06, "optimizer": "muon", "schedule": "cosine"}


class Part(NamedTuple):
    """What is different when one part of the recipe is left out."""

    train: Options = {}
    drawn: Options = {}
    training: Options = {}


PARTS: dict[str, Part] = {
    "the whole recipe": Part(),
    "without composed characters": Part(train={"composed": 0.0}),
    "without framing": Part(drawn={"framed": False}),
    "with Adam for Muon": Part(training={"optimizer": "adam", "lr": 0.003}),
    "without mirror images": Part(train={"flips": False}),
    "without distortion": Part(train={"distort": False}),
    "with 20 ways for 60": Part(train={"way": 20}, training={"batch": 3}),
}
_OTHERS = (
    Published(
        "prototypical networks",
        "69.9 % (20-way 1-shot within an alphabet)",
        "Lake et al. 2019, minimal background set, quoted second-hand",
        "the 20 official runs on ten other alphabets; mean over both minimal sets",
    ),
    Published(
        "convolutional network",
        "76.8 % (20-way 1-shot within an alphabet)",
        "Lake et al. 2015, minimal background set, quoted second-hand",
        "the 20 official runs on ten other alphabets; mean over both minimal sets",
    ),
)


def _recipe(title: str, split: str, part: Part, **more: Any) -> Recipe:
    return Recipe(
        f"{title}, trained on {split}",
        "prototypical",
        "omniglot",
        TESTS,
        training=({**TRAINING, **part.training},),
        options=OPTIONS,
        task_options={**_SMALL[split], **DRAWN, **part.drawn},
        train_options={**TRAINED_ON, **part.train},
        **more,
    )


RECIPES: dict[str, Recipe] = {
    f"challenge/{split}-{name.replace(' ', '-').lower()}": _recipe(
        f"Within alphabets of Omniglot: {name}", split, part, published=_OTHERS if name == "the whole recipe" else ()
    )
    for name, part in PARTS.items()
    for split in _SMALL
}
RECIPES["omniglot-challenge"] = _recipe("The Omniglot Challenge", "small1", Part())
