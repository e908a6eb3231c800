"""What a recorded experiment is: how to train, how to score, and the published numbers to set beside the scores."""

from __future__ import annotations

from typing import Any, NamedTuple

Options = dict[str, Any]


class Measurement(NamedTuple):
    """One number of a record: the tasks' first score, or another, on ``episodes`` test tasks, with its interval."""

    label: str  #: its name, for example "mse, 5-shot, 1 step"
    task_options: Options = {}
    options: Options = {}  #: of the system, such as ``inner_steps``
    tasks: str | None = None  #: another family than that of training, then with ``task_options`` alone
    episodes: int = 2000
    batch: int = 100
    at_test: dict[str, int] = {}  #: arguments of ``metabook.at_test.at_test_time``, such as ``best_views``
    score: str | None = None  #: of ``metabook.scores``, ``drawn`` or ``chosen``, in place of the tasks' first

    def settings(self) -> Options:
        """What is special about it, as plain values."""
        other = {k: v for k, v in {"tasks": self.tasks, "score": self.score}.items() if v is not None}
        return {**other, **self.task_options, **self.options, **self.at_test, "episodes": self.episodes}


class Published(NamedTuple):
    """A published number, its source, and how its set-up differs from ours."""

    system: str
    value: str
    source: str
    differs: str


class Recipe(NamedTuple):
    """All that a recorded experiment needs; options not named keep the defaults of the registry."""

    title: str
    system: str  #: one of ``metabook.registry``, a reference too
    tasks: str
    tests: tuple[Measurement, ...]
    #: arguments of ``metabook.train``, one call after the other, and under "options" those of the system that are
    #: different from then on; none: no training
    training: tuple[Options, ...] = ()
    options: Options = {}  #: of the system
    task_options: Options = {}  #: of training, validation and test tasks
    train_options: Options = {}  #: of the training tasks alone
    validated: bool = False  #: keep the weights that are best on the validation tasks
    seeds: tuple[int, ...] = (0,)  #: the first is the record, the others show the spread
    published: tuple[Published, ...] = ()

    def phases(self) -> list[tuple[Options, Options]]:
        """For each call of ``metabook.train`` its arguments, and the options of the system that change before it."""
        return [
            ({k: v for k, v in phase.items() if k != "options"}, phase.get("options", {})) for phase in self.training
        ]

    def settings(self) -> Options:
        """The settings as plain values, for the results file."""
        return {
            "options": self.options,
            "task_options": self.task_options,
            "train_options": self.train_options,
            "training": list(self.training),
            "validated": self.validated,
            "tests": {t.label: t.settings() for t in self.tests},
        }
