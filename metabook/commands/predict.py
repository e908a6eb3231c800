"""``metabook predict``: the reader's own images to labels, from a few labelled ones."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from metabook.calibration import temper
from metabook.classify import adapt, log_probabilities
from metabook.commands import options
from metabook.commands.table import table
from metabook.data import folder
from metabook.device import pick_device
from metabook.ready import build_ready, describe, is_run
from metabook.runs import read_config


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = options.add_command(
        commands,
        "predict",
        help="label your own images, from a few labelled ones",
        examples=[
            "metabook predict glyphs --support my_images/ --query new.png",
            "metabook predict runs/proto --support my_images/ --query new/*.jpg --json",
            "",
            "my_images/ has one folder a class, with one or more images of it in each:",
            "  my_images/circle/1.png  my_images/circle/2.jpg  my_images/star/a.png",
            "Size and colour do not matter, nor whether the ink is dark or light, nor where on the paper it is.",
        ],
    )
    parser.add_argument("place", metavar="RUN", help="a run folder, trained on images; or glyphs, which ships")
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
    ready = describe(args.place)
    of_system: dict[str, Any] = {}
    if is_run(args.place):
        config = read_config(args.place)
        of_system, _ = options.settings(args.set, config["system"], config["tasks"])
    elif args.set:
        raise ValueError(f"--set: {args.set[0]} given; the options of a pretrained learner are fixed")
    files, labels = folder.labelled_files(args.support)
    paths = [path for query in args.query for path in _files(query)]
    names = list(dict.fromkeys(labels))
    learner = build_ready(args.place, len(names), of_system).to(pick_device(args.device))
    adapted = adapt(learner, ready.read(files), torch.tensor([names.index(label) for label in labels]))
    log_probs = temper(log_probabilities(adapted, ready.read(paths)), ready.calibration.temperature)
    rows = []
    for path, p in zip(paths, log_probs.exp().tolist(), strict=True):
        order = sorted(range(len(p)), key=lambda k: -p[k])
        rows.append((str(path), [(names[k], p[k]) for k in order]))
    if args.json:
        predictions = [{"file": f, "label": r[0][0], "probability": r[0][1], "probabilities": dict(r)} for f, r in rows]
        print(json.dumps({"run": args.place, "classes": names, "predictions": predictions}, indent=2))
        return 0
    cells = [[f, r[0][0], f"{r[0][1]:.3f}", f"{r[1][0]} {r[1][1]:.3f}"] for f, r in rows]
    print(table(cells, ["file", "label", "probability", "second choice"]))
    return 0


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
