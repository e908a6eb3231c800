"""Making the checkpoints that ship with the package: ``python -m metabook.pretrain glyphs``.

Trains, scores on held-out tasks, fits temperature and thresholds on the validation part, and writes the weights
(safetensors) and a card (JSON). A stopped training goes on where it was. The scores on Omniglot need its small sets.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from metabook import pretrained
from metabook.calibration import Calibration, reliability, temper
from metabook.classify import adapt, log_probabilities
from metabook.device import make_generator
from metabook.evaluation import Score, Scores, evaluate
from metabook.files import write_json, write_whole
from metabook.learner import MetaLearner
from metabook.measure import TEST_SEED, measure
from metabook.open_set import calibrate, closeness
from metabook.recipe import Measurement, Recipe
from metabook.recipes.training import train_recipe
from metabook.registry import build, find, make_tasks
from metabook.tasks.protocol import Tasks

RECIPES = {
    "glyphs": Recipe(
        "A prototypical network for letters, signs and line drawings, trained on printed letters",
        "prototypical",
        "glyphs",
        (
            Measurement("accuracy, 5-way 1-shot", episodes=400, batch=20),
            Measurement("accuracy, 5-way 5-shot", {"shots": 5}, episodes=200, batch=20),
            Measurement("accuracy, 20-way 1-shot", {"way": 20, "queries": 5}, episodes=200, batch=10),
        ),
        training=(
            {"steps": 1000, "batch": 1, "lr": 1e-3},
            {"steps": 500, "batch": 1, "lr": 2e-4},
        ),
        options={"width": 64, "norm": "group"},
        train_options={"way": 30, "queries": 3},
    )
}
OMNIGLOT = {"split": "small1", "held_out": "small2"}  #: three alphabets, none of them Greek or Latin
HELD_OUT = ({"way": 10, "shots": 1, "queries": 5}, {"way": 10, "shots": 5, "queries": 5})  #: for the calibration
CHECKED = ({"way": 5, "shots": 1}, {"way": 5, "shots": 5}, {"way": 20, "shots": 1})  #: on test tasks
REJECT = 0.05


def pretrain(name: str, *, to: Path = pretrained.FOLDER, folder: Path = Path("runs/pretrain")) -> dict[str, Any]:
    """Carry out the recipe ``name``; write ``to/NAME.safetensors`` and ``to/NAME.json``; return the card.

    Raises ValueError for an unknown name, OSError if a file cannot be had or written.
    """
    recipe: Recipe = find("pretrained", name, RECIPES)
    record = measure(name, recipe, folder / name, device="cpu")
    seed = recipe.seeds[0]
    learner, _ = train_recipe(recipe, folder / name / f"seed-{seed}", seed=seed, device="cpu")
    validation = [make_tasks(recipe.tasks, part="validation", **options) for options in HELD_OUT]
    calibration = calibrate(_for(recipe, learner, validation[0]), validation, episodes=100)
    weights = save({key: value.contiguous() for key, value in learner.state_dict().items()})
    write_whole(to / f"{name}.safetensors", lambda beside: beside.write_bytes(weights))
    drawn = make_tasks("omniglot", part="test", **OMNIGLOT)
    omniglot = evaluate(_for(recipe, learner, drawn), drawn, episodes=400, batch=20, seed=TEST_SEED, device="cpu")
    checks = {}
    for tasks_name, options in (("glyphs", {}), ("omniglot", OMNIGLOT)):
        for few in CHECKED:
            tasks = make_tasks(tasks_name, part="test", queries=5, **options, **few)
            label = f"{tasks_name}, {few['way']}-way {few['shots']}-shot"
            checks[label] = check(_for(recipe, learner, tasks), tasks, calibration)
    card = {
        **{key: record[key] for key in ("title", "system", "tasks", "seed", "minutes", "scores")},
        "command": f"python -m metabook.pretrain {name}",
        "x_shape": list(validation[0].x_shape),
        "omniglot": {"tasks": "5-way 1-shot, never trained on", **OMNIGLOT, **omniglot.summary()},
        "calibration": {"tasks": list(HELD_OUT), "part": "validation", **calibration._asdict()},
        "checks": checks,
        **{key: record[key] for key in ("device", "torch", "python", "date", "settings")},
        "licence": "MIT, as the package; trained on the package's glyphs, renders of fonts whose licences allow it",
        "bytes": len(weights),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_json(to / f"{name}.json", card)
    return card


def check(
    learner: MetaLearner, tasks: Tasks, calibration: Calibration, *, episodes: int = 50, seed: int = 3
) -> dict[str, Any]:
    """What the calibration is worth on other tasks: calibration error before and after, known and unknown refused.

    One class of every task is hidden from the support set of a second adaptation; its queries are the unknown ones.
    """
    generator, way = make_generator(torch.device("cpu"), seed), tasks.likelihood.size
    threshold = calibration.threshold(REJECT)
    logs, labels, known, unknown = [], [], [], []
    for _ in range(episodes):
        support, query = tasks.sample(1, generator)
        adapted = adapt(learner, support.x[0], support.y[0])
        logs.append(log_probabilities(adapted, query.x[0]))
        labels.append(query.y[0])
        refused = (closeness(adapted, query.x[0]) < threshold).double()
        known.append(refused.mean())
        hidden = adapted._replace(state=adapted.state[:, : way - 1], shots=adapted.shots[: way - 1])
        close = closeness(hidden, query.x[0][query.y[0] == way - 1])
        unknown.append((close < threshold).double().mean())
    log_probs, y = torch.cat(logs), torch.cat(labels)
    shares = {f"{kind} refused": Score(torch.stack(v)) for kind, v in (("known", known), ("unknown", unknown))}
    return {
        "calibration error at temperature 1": reliability(log_probs.exp(), y).error,
        "calibration error": reliability(temper(log_probs, calibration.temperature).exp(), y).error,
        **Scores(shares).summary(),
    }


def _for(recipe: Recipe, learner: MetaLearner, tasks: Tasks) -> MetaLearner:
    """The same weights for tasks with another number of classes."""
    other = build(recipe.system, tasks, **recipe.options).eval()
    other.load_state_dict(learner.state_dict())
    return other


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``python -m metabook.pretrain``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m metabook.pretrain", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--to", type=Path, default=pretrained.FOLDER, help="where to write (default: the package)")
    parser.add_argument("--folder", type=Path, default=Path("runs/pretrain"), help="for checkpoints (runs/pretrain)")
    args = parser.parse_args(argv)
    try:
        card = pretrain(args.name, to=args.to, folder=args.folder)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"metabook.pretrain: error: {error}", file=sys.stderr)
        return 2
    print(f"{args.to / args.name}.safetensors, {card['bytes']} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
