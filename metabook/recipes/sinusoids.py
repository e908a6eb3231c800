"""Recorded experiments on sinusoids."""

from __future__ import annotations

from typing import Any

from metabook.recipe import Measurement, Options, Published, Recipe


def _sinusoid(title: str, system: str, options: Options, tests: tuple[Measurement, ...], **more: Any) -> Recipe:
    """Finn et al. (2017), sec. 5.1: 70,000 steps of 25 tasks with 5 support and 10 query points."""
    return Recipe(
        title,
        system,
        "sinusoids",
        tests,
        training=({"steps": 70_000, "batch": 25, "lr": 1e-3},),
        options=options,
        **{"train_options": {"shots": 5, "queries": 10}, **more},
    )


def _jax(system: str, value: str) -> Published:
    return Published(
        f"{system}, a JAX reproduction",
        value,
        "a course project at EPFL, quoted second-hand",
        "its training length is not known to us",
    )


def _li(system: str, value: str) -> Published:
    return Published(
        system,
        value,
        "Li et al. 2017, Table 1, quoted second-hand",
        "we take the frequency of their tasks to be drawn from 0.8 to 1.2, from the size of their numbers",
    )


def _after(shots: int, steps: int, name: str = "inner_steps") -> Measurement:
    label = f"mse, {shots}-shot, {steps} step{'s' * (steps != 1)}"
    return Measurement(label, {"shots": shots, "queries": 100}, {name: steps})


_ADAPTED = (_after(5, 1), _after(10, 1), _after(5, 10), _after(10, 10))

RECIPES: dict[str, Recipe] = {
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
            _jax("MAML", "0.72 (5-shot)"),
        ),
    ),
    "sinusoid-maml-first-order": _sinusoid(
        "First-order MAML on sinusoids, trained with one inner step on 5 points",
        "maml-first-order",
        {"inner_lr": 0.01, "inner_steps": 1},
        _ADAPTED[:2],
        published=(_jax("first-order MAML", "0.81 (5-shot)"),),
    ),
    "sinusoid-meta-sgd": _sinusoid(
        "Meta-SGD on sinusoids, trained with one inner step on 5 points",
        "meta-sgd",
        {},
        _ADAPTED[:2],
        published=(_jax("Meta-SGD", "0.46 (5-shot)"),),
    ),
    **{
        f"sinusoid-frequency-{system}-{shots}": _sinusoid(
            f"{name} on sinusoids of frequency 0.8 to 1.2, trained with one inner step on {shots} points",
            system,
            {},
            (_after(5, 1), _after(10, 1), _after(20, 1)),
            task_options={"frequency": (0.8, 1.2)},
            train_options={"shots": shots, "queries": 10},
            published=published,
        )
        for system, name, shots, published in (
            ("maml", "MAML", 5, (_li("MAML", "1.13 ± 0.18 (trained and tested on 5 points)"),)),
            ("maml", "MAML", 10, ()),
            ("meta-sgd", "Meta-SGD", 5, (_li("Meta-SGD", "0.90 ± 0.16 (trained and tested on 5 points)"),)),
            ("meta-sgd", "Meta-SGD", 10, ()),
        )
    },
}
