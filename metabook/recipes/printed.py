"""From printed letters to handwriting: what a network knows of drawings that has read only books.

``python -m metabook.record printed --jobs 2`` makes the table; a stopped one goes on.
"""

from __future__ import annotations

from metabook.recipe import Measurement, Options, Recipe

_NEW: Options = {"split": "small1", "held_out": "small2", "framed": True, "queries": 5}


def _test(label: str, **options: object) -> Measurement:
    return Measurement(label, {**_NEW, **options}, tasks="omniglot", episodes=200, batch=5)


TESTS = (
    _test("within an alphabet, 20-way 1-shot", way=20, within_alphabet=True),
    _test("between alphabets, 20-way 1-shot", way=20),
    _test("between alphabets, 5-way 1-shot", way=5),
)
OPTIONS: Options = {"backbone": "strided", "norm": "running", "distance": "local", "scale": 10.0, "swap": True}
SHARED: Options = {"way": 60, "queries": 1, "composed": 0.5}
TRAINING: Options = {"steps": 1200, "batch": 1, "lr": 0.06, "optimizer": "muon", "schedule": "cosine"}
SMALL1: Options = {"split": "small1", "held_out": "small2", "framed": True}


def _recipe(title: str, tasks: str, train_options: Options, task_options: Options) -> Recipe:
    return Recipe(
        f"Three handwritten alphabets, trained on {title}",
        "prototypical",
        tasks,
        TESTS,
        training=(TRAINING,),
        options=OPTIONS,
        task_options=task_options,
        train_options={**SHARED, **train_options},
    )


RECIPES: dict[str, Recipe] = {
    "printed/handwriting-printed-letters": _recipe("printed letters", "glyphs", {}, {}),
    "printed/handwriting-both": _recipe("printed letters and small1", "glyphs", {"handwritten": "small1"}, {}),
    "printed/handwriting-five-handwritten-alphabets": _recipe(
        "small1", "omniglot", {"distort": True, "all_classes": True}, SMALL1
    ),
}
