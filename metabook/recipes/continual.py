"""Printed letters, then handwritten digits, then letters again: what a learner gains, and what it forgets.

``python -m metabook.continual`` makes the table with its curves, in about ten minutes of one core.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Recipe


class Continuation(NamedTuple):
    """What follows a recipe's training, and after how many steps of it all tests of the recipe are taken."""

    tasks: str  #: the second family of tasks, "away" from the first
    training: Options  #: arguments of ``metabook.train``, but for the steps
    away: tuple[int, ...]  #: steps on the second tasks
    back: tuple[int, ...]  #: steps on the first tasks, after the last of those

    def settings(self) -> Options:
        """The settings as plain values."""
        return {"tasks": self.tasks, "training": self.training, "away": list(self.away), "back": list(self.back)}


TRAIN: Options = {"queries": 3}  #: of a training task, for each class
FIRST, SECOND = "letters", "digits"  #: the tests
TESTS = (
    Measurement(FIRST, {"queries": 3}, episodes=60, batch=20),
    Measurement(SECOND, {"queries": 3}, tasks="digits", episodes=60, batch=20),
)
CONTINUATION = Continuation("digits", {"batch": 4, "lr": 1e-3}, away=(3, 10, 30, 60), back=(10, 30))
SYSTEMS: dict[str, Options] = {"meta-networks": {"width": 32}, "prototypical": {"width": 32, "norm": "group"}}


def _recipe(system: str, options: Options) -> Recipe:
    return Recipe(
        f"{system.replace('-', ' ').capitalize()}: printed letters, then digits, then letters again",
        system,
        "glyphs",
        TESTS,
        training=({"steps": 250, "batch": 4, "lr": 0.02, "optimizer": "muon", "schedule": "cosine"},),
        options=options,
        train_options=TRAIN,
        seeds=(0, 1, 2),
    )


RECIPES: dict[str, Recipe] = {f"continual/glyphs-{name}": _recipe(name, options) for name, options in SYSTEMS.items()}
