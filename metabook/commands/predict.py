"""``metabook predict``: the reader's own images to labels, from a few labelled ones."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Categorical

from metabook.commands import options
from metabook.commands.table import table
from metabook.data import folder
from metabook.data.framing import frame_ink
from metabook.device import pick_device
from metabook.episode import Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.runs import load_learner, read_config

CHARACTERS = ("glyphs", "omniglot")  #: whose letters fill a frame: the reader's drawings are put into the same one
LARGE = 224  # pixels, before that


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = options.add_command(
        commands,
        "predict",
        help="label your own images, from a few labelled ones",
        examples=[
            "metabook predict runs/proto --support my_images/ --query new.png",
            "metabook predict runs/proto --support my_images/ --query new/*.jpg --json",
            "",
            "my_images/ has one folder a class, with one or more images of it in each:",
            "  my_images/circle/1.png  my_images/circle/2.jpg  my_images/star/a.png",
            "Size and colour do not matter, nor whether the ink is dark or light, nor where on the paper it is.",
        ],
    )
    parser.add_argument("place", metavar="RUN", help="the run folder of a system trained on images")
    parser.add_argument(
        "--support", type=Path, required=True, metavar="FOLDER", help="labelled images, one folder a class"
    )
    parser.add_argument(
        "--query", type=Path, required=True, nargs="+", metavar="FILE", help="images to label, or folders of them"
    )
    parser.add_argument("--json", action="store_true", help="print JSON only")
    options.add_set_argument(parser, "an option of the system to change, such as inner_steps=10")
    options.add_machine_arguments(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Print a label, its probability and the second choice for every query file."""
    config = read_config(args.place)
    channels, *sides = config["x_shape"] if len(config["x_shape"]) == 3 else (0, 0)
    if channels != 1 or config["likelihood"]["kind"] != "classification":
        raise ValueError(
            f"run: {args.place} was trained on {config['tasks']}; predict needs one trained on grey images"
        )
    of_system, _ = options.settings(args.set, config["system"], config["tasks"])
    framed = config["tasks"] in CHARACTERS
    size = LARGE if framed else sides[0]
    classes = folder.load(args.support, size=size)
    learner = load_learner(args.place, likelihood=Classification(len(classes.names)), options=of_system)
    paths = [path for query in args.query for path in _files(query)]
    images, x = classes.images, folder.load_images(paths, size=size)
    if framed:
        images, x = (frame_ink(t, size=sides[0]) for t in (images, x))
    probs = classify(learner.to(pick_device(args.device)), images, classes.labels, x)
    rows = []
    for path, p in zip(paths, probs.tolist(), strict=True):
        order = sorted(range(len(p)), key=lambda k: -p[k])
        rows.append((str(path), [(classes.names[k], p[k]) for k in order]))
    if args.json:
        predictions = [{"file": f, "label": r[0][0], "probability": r[0][1], "probabilities": dict(r)} for f, r in rows]
        print(json.dumps({"run": args.place, "classes": list(classes.names), "predictions": predictions}, indent=2))
        return 0
    cells = [[f, r[0][0], f"{r[0][1]:.3f}", f"{r[1][0]} {r[1][1]:.3f}"] for f, r in rows]
    print(table(cells, ["file", "label", "probability", "second choice"]))
    return 0


def classify(learner: MetaLearner, images: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """The probability of each class for each query image, [Q, N] on the CPU, learned from S labelled images.

    images: uint8 [S, C, H, W]; labels: int64 [S]; query: uint8 [Q, C, H, W]. Each query is judged by itself: a learner
    with batch statistics sees it together with the support images, never with the other queries.
    """
    like = next(learner.parameters(), torch.zeros(()))
    x, q = ((t.to(like) / 255).unsqueeze(0) for t in (images, query))
    with torch.no_grad():
        state = learner.adapt(Examples(x, labels.to(like.device).unsqueeze(0)))
        if not learner.transductive:
            return _probs(learner, state, q).cpu()
        each = [_probs(learner, state, torch.cat([x, q[:, i : i + 1]], 1))[-1] for i in range(q.shape[1])]
    return torch.stack(each).cpu()


def _probs(learner: MetaLearner, state: Any, x: Tensor) -> Tensor:
    probs = cast(Categorical, learner.predict(state, x)).probs
    return (probs.mean(0) if probs.dim() == 4 else probs)[0]


def _files(query: Path) -> list[Path]:
    """The file itself, or the images of a folder in order. Raises FileNotFoundError or ValueError if there is none."""
    if not query.is_dir():
        if not query.exists():
            raise FileNotFoundError(f"--query: no file {query}")
        return [query]
    found = folder.image_files(query)
    if not found:
        raise ValueError(f"--query: no images in {query}; known are {', '.join(folder.SUFFIXES)}")
    return found
