"""Recorded experiments on optimisers."""

from __future__ import annotations

from metabook.recipe import Measurement, Options, Published, Recipe

QUADRATICS: Options = {"layers": (), "bias": False}  #: the optimisee: theta itself
PHASE: Options = {"batch": 64, "validation_episodes": 1000}

RECIPES: dict[str, Recipe] = {
    "quadratics-learned-optimizer": Recipe(
        "Learned optimiser on random ten-dimensional quadratics, trained for 100 steps",
        "learned-optimizer",
        "quadratics",
        (
            Measurement("f after 100 steps", episodes=5000, batch=500),
            Measurement("f after 200 steps", {}, {"steps": 200}, episodes=5000, batch=500),
        ),
        training=(
            {"steps": 300, "lr": 1e-2, **PHASE},
            {"steps": 400, "lr": 4e-3, **PHASE},
            {"steps": 300, "lr": 1e-3, **PHASE},
            {"steps": 200, "lr": 4e-4, **PHASE},
            {"steps": 150, "lr": 1e-4, **PHASE},
        ),
        options={**QUADRATICS, "steps": 100, "unroll": 20, "emphasis": 2.0, "learn_start": False},
        validated=True,
        published=(
            Published(
                "learned optimiser",
                "a figure only",
                "Andrychowicz et al. 2016, Fig. 4",
                "the paper prints curves and no numbers; gradients are not preprocessed there",
            ),
        ),
    ),
}
