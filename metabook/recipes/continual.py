"""Letters, then handwritten digits, then letters again: what a learner gains, and what it forgets.

``python -m metabook.continual`` makes the table of printed letters with its curves, in about ten minutes of one core;
with the names of ``OMNIGLOT`` that of Omniglot and MNIST, as in the paper. Both are downloaded.
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
SYSTEMS: dict[str, Options] = {"meta-networks": {"width": 32}, "prototypical": {"width": 32, "norm": "group"}}


def _recipe(system: str, title: str, letters: str, digits: str) -> Recipe:
    return Recipe(
        f"{system.replace('-', ' ').capitalize()}: {title}, then digits, then letters again",
        system,
        letters,
        (
            Measurement(FIRST, {"queries": 3}, episodes=60, batch=20),
            Measurement(SECOND, {"queries": 3}, tasks=digits, episodes=60, batch=20),
        ),
        training=({"steps": 250, "batch": 4, "lr": 0.02, "optimizer": "muon", "schedule": "cosine"},),
        options=SYSTEMS[system],
        train_options=TRAIN,
        seeds=(0, 1, 2),
    )


RECIPES: dict[str, Recipe] = {
    f"continual/glyphs-{system}": _recipe(system, "printed letters", "glyphs", "digits") for system in SYSTEMS
}
OMNIGLOT: dict[str, Recipe] = {
    f"continual-omniglot/{system}": _recipe(system, "letters of Omniglot", "omniglot", "mnist") for system in SYSTEMS
}


def continuation(recipe: Recipe) -> Continuation:
    """What follows: on to the tasks of the recipe's second test."""
    (second,) = (test.tasks for test in recipe.tests if test.label == SECOND)
    return Continuation(second or recipe.tasks, {"batch": 4, "lr": 1e-3}, away=(3, 10, 30, 60), back=(10, 30))
