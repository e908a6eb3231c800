"""The recipe for the Omniglot Challenge's minimal setting, and the same recipe without one of its parts at a time.

``python -m metabook.record challenge --jobs 2`` makes the table, ``challenge-parts`` the one with a part left out; a
stopped one goes on. To train by the recipe alone:
``metabook train --recipe omniglot-challenge --split small2 --held-out small1``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from metabook.recipe import Measurement, Options, Published, Recipe

COPIES = 8
PRACTICE = 8  #: steps on the support set of a test task
STEPS, SHORT = 1000, 300
SEEDS = (0, 1, 2)
_SMALL: dict[str, Options] = {
    "small1": {"split": "small1", "held_out": "small2"},
    "small2": {"split": "small2", "held_out": "small1"},
}
_WITHIN: Options = {"way": 20, "queries": 5, "within_alphabet": True}


def _test(label: str, options: Options) -> Measurement:
    return Measurement(label, options, episodes=200, batch=5)


TESTS = (
    _test("within an alphabet, 20-way 1-shot", _WITHIN),
    _test("between alphabets, 20-way 1-shot", {"way": 20, "queries": 5}),
    _test("between alphabets, 5-way 1-shot", {"way": 5, "queries": 5}),
)


def _test_with_more(label: str, at_test: dict[str, int]) -> Measurement:
    return Measurement(f"within an alphabet, {label}", {**_WITHIN, "queries": 2}, episodes=50, batch=2, at_test=at_test)


MORE = (
    _test_with_more(f"best of {COPIES} copies", {"best_views": COPIES}),
    _test_with_more("after practice", {"fine_tune": PRACTICE}),
    _test_with_more("best of copies, after practice", {"best_views": COPIES, "fine_tune": PRACTICE}),
)
OPTIONS: Options = {"backbone": "strided", "norm": "running", "distance": "local", "scale": 10.0, "swap": True}
DRAWN: Options = {"size": 36, "framed": True}  #: how every drawing is made small
TRAINED_ON: Options = {
    "way": 60,
    "queries": 1,
    "flips": True,
    "distort": True,
    "composed": 0.5,
    "all_classes": True,
}
TRAINING: Options = {"batch": 1, "lr": 0.06, "optimizer": "muon", "schedule": "cosine"}


class Part(NamedTuple):
    """What is different when one part of the recipe is left out."""

    train: Options = {}
    drawn: Options = {}
    training: Options = {}
    options: Options = {}


WHOLE = "the whole recipe"
PARTS: dict[str, Part] = {
    WHOLE: Part(),
    "without looking around": Part(options={"distance": "cosine"}),
    "without composed characters": Part(train={"composed": 0.0}),
    "without framing": Part(drawn={"framed": False}),
    "with Adam for Muon": Part(training={"optimizer": "adam", "lr": 0.003}),
    "without mirror images": Part(train={"flips": False}),
    "without distortion": Part(train={"distort": False}),
    "without swapping": Part(options={"swap": False}),
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


def _recipe(
    title: str, split: str, part: Part, tests: tuple[Measurement, ...], *, steps: int = STEPS, **more: Any
) -> Recipe:
    return Recipe(
        f"{title}, trained on {split}",
        "prototypical",
        "omniglot",
        tests,
        training=({**TRAINING, "steps": steps, **part.training},),
        options={**OPTIONS, **part.options},
        task_options={**_SMALL[split], **DRAWN, **part.drawn},
        train_options={**TRAINED_ON, **part.train},
        **more,
    )


def _untrained(split: str) -> Recipe:
    title = f"Within alphabets of Omniglot: modified Hausdorff distance, alphabets that {split} has not"
    task_options = {**_SMALL[split], "size": 105}  # as they were scanned
    return Recipe(title, "modified-hausdorff", "omniglot", TESTS, task_options=task_options)


RECIPES: dict[str, Recipe] = {
    f"challenge/{split}-the-whole-recipe": _recipe(
        f"Within alphabets of Omniglot: {WHOLE}",
        split,
        Part(),
        (TESTS[0], *MORE, *TESTS[1:]),
        seeds=SEEDS,
        published=_OTHERS,
    )
    for split in _SMALL
}
RECIPES |= {f"challenge/{split}-modified-hausdorff": _untrained(split) for split in _SMALL}
RECIPES |= {
    f"challenge-parts/small1-{name.replace(' ', '-').lower()}": _recipe(
        f"Within alphabets of Omniglot: {name}, {SHORT} steps", "small1", part, TESTS, steps=SHORT
    )
    for name, part in PARTS.items()
}
RECIPES["omniglot-challenge"] = _recipe("The Omniglot Challenge", "small1", Part(), TESTS)
