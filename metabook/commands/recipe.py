"""``metabook train --recipe NAME``: train as a recorded experiment does, into a run folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from metabook.checkpoint import save
from metabook.commands import options
from metabook.device import pick_device
from metabook.recipes import RECIPES
from metabook.recipes.training import train_recipe
from metabook.registry import find, find_system, make_tasks
from metabook.runs import CHECKPOINT, CONFIG, make_config, write_config

SAID = ("system", "tasks", "steps", "batch", "lr", "validate_every", "compile")  #: what a recipe decides


def run(args: argparse.Namespace) -> int:
    """Train the recipe's phases; afterwards the folder is a run like any other."""
    recipe = find("recipe", args.recipe, RECIPES)
    given = [name for name in SAID if getattr(args, name) is not None] + ["set"] * bool(args.set)
    if given:
        names = ", ".join(name if name == "system" else f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{names}: given with --recipe {args.recipe}, which decides it; leave it out")
    if not recipe.training:
        raise ValueError(f"--recipe: {args.recipe} trains nothing; metabook evaluate {recipe.system} scores it")
    recipe = recipe._replace(task_options={**recipe.task_options, **options.task_options(recipe.tasks, args)})
    folder: Path = args.out or Path("runs") / args.recipe.replace("/", "-")
    if not args.resume and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise FileExistsError(f"--out: {folder} is not empty; add --resume to go on with it, or give another folder")
    seed, device = args.seed or 0, str(pick_device(args.device))
    tasks = make_tasks(recipe.tasks, part="train", **{**recipe.task_options, **recipe.train_options})
    print(f"training {recipe.system} on {recipe.tasks} by the recipe {args.recipe}, on {device}", flush=True)
    learner, seconds = train_recipe(recipe, folder, seed=seed, device=device)
    config = make_config(
        recipe.system,
        {**find_system(recipe.system).options(), **recipe.options},
        recipe.tasks,
        recipe.task_options,
        tasks,
        seed=seed,
        training={"recipe": args.recipe},
    )
    save(learner, folder / CHECKPOINT)
    write_config(folder, config)
    print(f"done in {seconds:.0f} s, saved in {folder / CONFIG} and {CHECKPOINT}")
    print(f"test it:   metabook evaluate {folder}")
    return 0
