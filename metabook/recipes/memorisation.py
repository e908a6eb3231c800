"""Recorded experiments on tasks that can be solved without the support set (Yin et al. 2020, arXiv:1912.03820)."""

from __future__ import annotations

from metabook.recipe import Measurement, Options, Published, Recipe

_SEEDS = (0, 1, 2)
_SOURCE = "stored outputs of the authors' notebook sinusoid/MR_MAML.ipynb"
_DIFFERS = "10,000 to 15,000 steps of one task, 100 inner steps at test time, targets with noise added twice"


def _waves(title: str, system: str, options: Options, published: str = "", **train_options: bool) -> Recipe:
    return Recipe(
        title,
        system,
        "named-sinusoids",
        tuple(
            Measurement(f"mse of new waves, {steps} step{'s' * (steps > 1)}", {"queries": 50}, {"inner_steps": steps})
            for steps in (1, 20)
        ),
        training=({"steps": 1500, "batch": 25, "lr": 2e-3},),
        options=options,
        train_options=dict(train_options),
        seeds=_SEEDS,
        published=(Published(system, published, _SOURCE, _DIFFERS),) if published else (),
    )


def _letters(title: str, system: str, options: Options, *, fixed_labels: bool) -> Recipe:
    return Recipe(
        title,
        system,
        "glyphs",
        (Measurement("accuracy, 5-way 1-shot, new letters", {"queries": 5}, episodes=600, batch=20),),
        training=({"steps": 600, "batch": 4, "lr": 2e-3},),
        options={"width": 16, "inner_lr": 0.05, **options},
        train_options={"queries": 5, "classes": 20, "fixed_labels": fixed_labels},
        seeds=_SEEDS,
    )


_CODE: Options = {"form": "activations", "width": 40}

RECIPES: dict[str, Recipe] = {
    "named-sinusoids-maml": _waves("MAML on sine waves that carry their name", "maml", {}, "0.51 (5-shot)"),
    "named-sinusoids-maml-exclusive": _waves(
        "MAML on sine waves whose names are random: mutually exclusive tasks", "maml", {}, random_names=True
    ),
    "named-sinusoids-meta-regularised": _waves(
        "MR-MAML (A) on sine waves that carry their name",
        "maml-meta-regularised",
        {**_CODE, "beta": 1.0},
        "0.15 (5-shot, activations)",
    ),
    "named-sinusoids-without-price": _waves(
        "The same network without a price on the code", "maml-meta-regularised", {**_CODE, "beta": 0.0}
    ),
    "glyphs-fixed-labels-maml": _letters("MAML on 20 letters that keep their labels", "maml", {}, fixed_labels=True),
    "glyphs-fixed-labels-maml-exclusive": _letters(
        "MAML on the same 20 letters, labels shuffled", "maml", {}, fixed_labels=False
    ),
    "glyphs-fixed-labels-meta-regularised": _letters(
        "MR-MAML (W) on 20 letters that keep their labels",
        "maml-meta-regularised",
        {"encoder": False, "beta": 1e-4, "prior_std": 0.1, "start_std": 0.05},
        fixed_labels=True,
    ),
}
