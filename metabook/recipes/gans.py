"""Generators that play, and generators that draw: two tables.

``python -m metabook.record metagan drawings --jobs 2`` makes both; a stopped one goes on.
"""

from __future__ import annotations

from metabook.recipe import Measurement, Options, Recipe

FIVE_SEEDS = (0, 1, 2, 3, 4)
THREE_SEEDS = (0, 1, 2)
COPIES = 10
OMNIGLOT: Options = {"split": "small1", "held_out": "small2"}

#: place -> tasks, number of test tasks in a batch, options of training tasks, of both systems, training
GAMES: dict[str, tuple[str, Measurement, Options, Options, Options]] = {
    "clusters": (
        "clusters",
        Measurement("accuracy, 5-way 1-shot", episodes=4000, batch=500),
        {},
        {"width": 16},
        {"steps": 3000, "batch": 25, "lr": 2e-3, "schedule": "cosine"},
    ),
    "glyphs": (
        "glyphs",
        Measurement("accuracy, 5-way 1-shot", {"queries": 5}, episodes=1000, batch=20),
        {"queries": 5},
        {"width": 16},
        {"steps": 1000, "batch": 4, "lr": 2e-3, "schedule": "cosine"},
    ),
}

METAGAN: dict[str, Recipe] = {
    f"metagan/{place}-{name}": Recipe(
        f"{title} on {'Gaussian clusters in the plane' if place == 'clusters' else 'printed letters'}",
        name,
        tasks,
        (test,),
        training=(training,),
        options=options,
        train_options=train_options,
        seeds=FIVE_SEEDS,
    )
    for place, (tasks, test, train_options, options, training) in GAMES.items()
    for name, title in (("prototypical", "The base learner, a prototypical network,"), ("metagan", "MetaGAN"))
}

#: place -> tasks, options of all tasks
DRAWN: dict[str, tuple[str, Options]] = {"glyphs": ("glyphs", {}), "omniglot": ("omniglot", OMNIGLOT)}
ADDED: dict[str, tuple[str, Options]] = {
    "nothing-added": ("nearest-copy", {"copies": 0}),
    "distorted": ("nearest-copy", {"copies": COPIES}),
    "distorted-and-blurred": ("nearest-copy", {"copies": COPIES, "blurred": True}),
    "generated": ("one-shot-generator", {"copies": COPIES}),
}
ACCURACY = Measurement("accuracy, 5-way 1-shot", {"queries": 5}, episodes=1000, batch=20)
OF_COPIES = tuple(
    Measurement(score, {"queries": 3}, episodes=100, batch=20, score=score)
    for score in ("quality", "diversity", "diversity in features")
)


def _drawings(name: str, place: str) -> Recipe:
    (system, options), (tasks, task_options) = ADDED[name], DRAWN[place]
    trained = system == "one-shot-generator"
    return Recipe(
        f"Nearest drawing, {name.replace('-', ' ')}, on {place}",
        system,
        tasks,
        (ACCURACY, *OF_COPIES) if options["copies"] else (ACCURACY,),
        training=({"steps": 2500, "batch": 4, "lr": 2e-3, "schedule": "cosine"},) if trained else (),
        options=options,
        task_options=task_options,
        train_options={"queries": 3} if trained else {},
        seeds=THREE_SEEDS,
    )


DRAWINGS: dict[str, Recipe] = {f"drawings/{place}-{name}": _drawings(name, place) for place in DRAWN for name in ADDED}
RECIPES: dict[str, Recipe] = {**METAGAN, **DRAWINGS}
