"""Recorded experiments on optimisers."""

from __future__ import annotations

from metabook.recipe import Measurement, Options, Published, Recipe

QUADRATICS: Options = {"layers": (), "bias": False}  #: the optimisee: theta itself
TEN_UNITS: Options = {"layers": (10,), "activation": "sigmoid", "batch": 128}  #: the optimisee of the small network
PHASE: Options = {"batch": 64, "validation_episodes": 1000}
WHOLE: Options = {"unroll": 100, "emphasis": 4.0}  #: at last no cut, and more of the weight on the end


def _mixture(title: str, system: str, options: Options, lr: float) -> Recipe:
    """Linear networks on tasks whose curvatures differ by a factor of 100 and more."""
    return Recipe(
        title,
        system,
        "mixed-curvature",
        (Measurement("mse", episodes=2000, batch=500),),
        training=tuple({"steps": s, "batch": 200, "lr": r} for s, r in ((400, lr), (200, lr / 5), (100, lr / 25))),
        options={"layers": (), "inner_lr": 0.003, "inner_steps": 5, **options},
        seeds=(0, 1, 2),
    )


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
            {"steps": 120, "lr": 5e-4, "options": WHOLE, **PHASE},
            {"steps": 80, "lr": 1.5e-4, **PHASE},
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
    "network-training-learned-optimizer": Recipe(
        "Learned optimiser on training a network of ten sigmoid units, for 50 steps",
        "learned-optimizer",
        "network-training",
        (
            Measurement("accuracy after 50 steps", episodes=200, batch=20),
            Measurement("accuracy after 100 steps", {}, {"steps": 100}, episodes=200, batch=20),
        ),
        training=(
            {"steps": 160, "lr": 2e-3, "batch": 4},
            {"steps": 360, "lr": 3e-3, "batch": 4, "options": {"unroll": 50}},
            {"steps": 120, "lr": 6e-4, "batch": 4},
        ),
        options={**TEN_UNITS, "steps": 50, "unroll": 10, "hidden": 10, "learn_start": False},
    ),
    "mixed-curvature-engine": _mixture(
        "Optimisation engine on tasks of mixed curvature", "optimization-engine", {}, 1e-2
    ),
    "mixed-curvature-shared": _mixture(
        "One shared optimiser on tasks of mixed curvature",
        "optimization-engine",
        {"shared": True, "ceiling": None},
        3e-3,
    ),
    "mixed-curvature-meta-sgd": _mixture("Meta-SGD on tasks of mixed curvature", "meta-sgd", {}, 1e-2),
}
