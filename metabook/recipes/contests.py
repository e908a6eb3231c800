"""The contests of learned optimisers: each with its rivals, their grids, and the settings that are scored."""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Options
from metabook.recipes.optimizers import QUADRATICS, TEN_UNITS

Rules = dict[str, tuple[Options, dict[str, list[float]]]]


def powers(low: float, high: float, count: int) -> list[float]:
    """``count`` numbers from low to high, each the same multiple of the one before, with four digits."""
    return [float(f"{low * (high / low) ** (i / (count - 1)):.4g}") for i in range(count)]


#: rule -> (fixed options, grid); every grid reaches past its optimum, or ``tune`` raises
FOR_QUADRATICS: Rules = {
    "SGD": ({"rule": "sgd"}, {"lr": powers(0.02, 0.64, 16)}),
    "SGD, cosine": ({"rule": "sgd", "decay": "cosine"}, {"lr": powers(0.02, 0.64, 16)}),
    "momentum": ({"rule": "momentum"}, {"lr": powers(0.08, 0.64, 7), "beta1": [0.8, 0.85, 0.9, 0.93, 0.96]}),
    "momentum, cosine": (
        {"rule": "momentum", "decay": "cosine"},
        {"lr": powers(0.08, 0.64, 7), "beta1": [0.8, 0.85, 0.9, 0.93, 0.96]},
    ),
    "Nesterov": ({"rule": "nesterov"}, {"lr": powers(0.02, 0.32, 9), "beta1": [0.9, 0.93, 0.95, 0.97, 0.985]}),
    "Nesterov, cosine": (
        {"rule": "nesterov", "decay": "cosine"},
        {"lr": powers(0.02, 0.32, 9), "beta1": [0.93, 0.95, 0.97, 0.985, 0.993]},
    ),
    "RMSprop": ({"rule": "rmsprop"}, {"lr": powers(0.02, 0.32, 9), "beta2": [0.95, 0.99, 0.999, 0.9999, 0.99999]}),
    "RMSprop, cosine": (
        {"rule": "rmsprop", "decay": "cosine"},
        {"lr": powers(0.08, 1.28, 9), "beta2": [0.7, 0.8, 0.9, 0.95, 0.99]},
    ),
    "Adam": (
        {"rule": "adam"},
        {"lr": powers(0.1, 0.4, 5), "beta1": [0.75, 0.8, 0.85, 0.9, 0.94], "beta2": [0.6, 0.7, 0.8, 0.87, 0.93]},
    ),
    "Adam, cosine": (
        {"rule": "adam", "decay": "cosine"},
        {"lr": powers(0.8, 3.2, 5), "beta1": [0.75, 0.8, 0.85, 0.9, 0.94], "beta2": [0.6, 0.7, 0.8, 0.87, 0.93]},
    ),
}


FOR_NETWORKS: Rules = {
    "SGD": ({"rule": "sgd"}, {"lr": powers(2, 32, 9)}),
    "momentum": ({"rule": "momentum"}, {"lr": powers(2, 32, 9), "beta1": [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9]}),
    "Nesterov": ({"rule": "nesterov"}, {"lr": powers(1, 16, 9), "beta1": [0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]}),
    "RMSprop": (
        {"rule": "rmsprop"},
        {"lr": powers(0.01, 0.16, 9), "beta2": [0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999]},
    ),
    "Adam": (
        {"rule": "adam"},
        {
            "lr": powers(0.07, 0.28, 5),
            "beta1": [0.5, 0.7, 0.8, 0.85, 0.9, 0.95],
            "beta2": [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99],
        },
    ),
    "Adam, cosine": (
        {"rule": "adam", "decay": "cosine"},
        {
            "lr": powers(0.1, 0.57, 6),
            "beta1": [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9],
            "beta2": [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99],
        },
    ),
}


class Contest(NamedTuple):
    """One recorded learned optimiser and its rivals."""

    optimisee: Options
    rules: Rules
    steps: int  #: the horizon of training and tuning
    #: label -> (options of the tasks, of learner and rivals): what is scored, without new training or tuning
    settings: dict[str, tuple[Options, Options]]
    along: bool  #: score the mean loss over all steps, at most DIVERGED, not the loss after the last
    problems: int  #: to tune on
    test: int
    batch: int


CONTESTS: dict[str, Contest] = {
    "quadratics-learned-optimizer": Contest(
        QUADRATICS,
        FOR_QUADRATICS,
        100,
        {
            "100 steps": ({}, {}),
            "200 steps": ({}, {"steps": 200}),
            "5 dimensions": ({"dim": 5}, {}),
            "20 dimensions": ({"dim": 20}, {}),
        },
        along=False,
        problems=2000,
        test=5000,
        batch=500,
    ),
    "network-training-learned-optimizer": Contest(
        TEN_UNITS,
        FOR_NETWORKS,
        50,
        {
            "50 steps": ({}, {}),
            "100 steps": ({}, {"steps": 100}),
            "20 units": ({}, {"layers": (20,)}),
            "two layers": ({}, {"layers": (10, 10)}),
            "ReLU": ({}, {"activation": "relu"}),
        },
        along=True,
        problems=30,
        test=80,
        batch=20,
    ),
}
