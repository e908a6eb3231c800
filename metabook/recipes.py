"""The recorded experiments: what is trained on what, how it is scored, and the published numbers beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

Options = dict[str, Any]


class Measurement(NamedTuple):
    """One number of a record: the first score on ``episodes`` test tasks, with its interval."""

    label: str  #: its name, for example "mse, 5-shot, 1 step"
    task_options: Options = {}
    options: Options = {}  #: of the system, such as ``inner_steps``
    episodes: int = 2000
    batch: int = 100


class Published(NamedTuple):
    """A published number, its source, and how its set-up differs from ours."""

    system: str
    value: str
    source: str
    differs: str


class Recipe(NamedTuple):
    """All that a recorded experiment needs; options not named keep the defaults of the registry."""

    title: str
    system: str
    tasks: str
    tests: tuple[Measurement, ...]
    training: tuple[Options, ...] = ()  #: arguments of ``metabook.train``, one call after the other; none: no training
    options: Options = {}  #: of the system
    task_options: Options = {}  #: of training, validation and test tasks
    train_options: Options = {}  #: of the training tasks alone
    validated: bool = False  #: keep the weights that are best on the validation tasks
    seeds: tuple[int, ...] = (0,)  #: the first is the record, the others show the spread
    published: tuple[Published, ...] = ()

    def settings(self) -> Options:
        """The settings as plain values, for the results file."""
        return {
            "options": self.options,
            "task_options": self.task_options,
            "train_options": self.train_options,
            "training": list(self.training),
            "validated": self.validated,
            "tests": {t.label: {**t.task_options, **t.options, "episodes": t.episodes} for t in self.tests},
        }


def _sinusoid(title: str, system: str, options: Options, tests: tuple[Measurement, ...], **more: Any) -> Recipe:
    """Finn et al. (2017), sec. 5.1: 70,000 steps of 25 tasks with 5 support and 10 query points."""
    return Recipe(
        title,
        system,
        "sinusoids",
        tests,
        training=({"steps": 70_000, "batch": 25, "lr": 1e-3},),
        options=options,
        train_options={"shots": 5, "queries": 10},
        **more,
    )


def _after(shots: int, steps: int, name: str = "inner_steps") -> Measurement:
    label = f"mse, {shots}-shot, {steps} step{'s' * (steps != 1)}"
    return Measurement(label, {"shots": shots, "queries": 100}, {name: steps})


_ADAPTED = (_after(5, 1), _after(10, 1), _after(5, 10), _after(10, 10))

_SINUSOIDS = {
    "sinusoid-maml": _sinusoid(
        "MAML on sinusoids, trained with one inner step on 5 points",
        "maml",
        {"inner_lr": 0.01, "inner_steps": 1},
        _ADAPTED,
        seeds=(0, 1, 2),
        published=(
            Published(
                "MAML",
                "about 0.7 after 1 step, about 0.3 from step 4 (5-shot)",
                "Finn et al. 2017, Fig. 3",
                "read off a figure by others; the paper prints no table",
            ),
            Published(
                "MAML, in the Meta-SGD paper",
                "1.13 ± 0.18 (5-shot, 1 step)",
                "Li et al. 2017, Table 1, quoted second-hand",
                "its training protocol was not read by us",
            ),
            Published(
                "MAML, a JAX reproduction",
                "0.72 (5-shot)",
                "a course project at EPFL, quoted second-hand",
                "its training length is not known to us",
            ),
        ),
    ),
}

RECIPES: dict[str, Recipe] = {**_SINUSOIDS}
