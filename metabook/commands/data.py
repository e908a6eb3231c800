"""``metabook data``: what images there are on this machine, and how to get the others."""

from __future__ import annotations

import argparse
import json
from typing import Any

from metabook.commands.options import add_command
from metabook.commands.table import table
from metabook.data import challenge, download, glyphs, omniglot
from metabook.registry import find

FILES = {f"omniglot-{name}": file for name, file in omniglot.FILES.items()}
SETS = {"glyphs": (), "omniglot": tuple(FILES), **{name: (name,) for name in FILES}}
ABOUT = {
    "glyphs": "printed letters of many scripts",
    "omniglot-background": "964 handwritten characters of 30 alphabets",
    "omniglot-evaluation": "659 characters of 20 other alphabets",
    "omniglot-small1": "136 characters of 5 alphabets, from background",
    "omniglot-small2": "156 characters of 5 alphabets, from background",
    "omniglot-challenge": "the 20 official one-shot runs",
}


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = add_command(
        commands,
        "data",
        help="list the images of this machine, or fetch others",
        examples=[
            "metabook data list",
            "metabook data fetch omniglot",
            "metabook data fetch omniglot-small1",
            "metabook data practice --split small1 --held-out small2 --out practice.zip",
            "",
            "Files are read from the folder METABOOK_DATA, or else from METABOOK_CACHE (~/.cache/metabook).",
            "Without a network, get a file by other means and put it where `data list` says.",
        ],
    )
    actions = parser.add_subparsers(metavar="list|fetch|practice", required=True, title="actions")
    shown = actions.add_parser("list", help="what there is, and where", allow_abbrev=False)
    shown.add_argument("--json", action="store_true", help="print JSON only")
    shown.set_defaults(command=run_list)
    fetched = actions.add_parser("fetch", help="download what is missing, and check it", allow_abbrev=False)
    fetched.add_argument("name", metavar="NAME", help="one of " + ", ".join(SETS))
    fetched.set_defaults(command=run_fetch)
    practice = actions.add_parser(
        "practice", help="make one-shot runs of the official kind from held-out alphabets", allow_abbrev=False
    )
    practice.add_argument("--split", default="small1", metavar="SPLIT", help="what is trained on: small1")
    practice.add_argument("--held-out", default="small2", metavar="SPLIT", help="where new alphabets come from: small2")
    practice.add_argument("--runs", type=int, default=omniglot.RUNS, metavar="N", help="how many, 20")
    practice.add_argument("--seed", type=int, default=0, metavar="N", help="fixes the draws, 0")
    practice.add_argument("--out", required=True, metavar="FILE", help="the zip file to write")
    practice.set_defaults(command=run_practice)


def run_list(args: argparse.Namespace) -> int:
    """Print every set with its file."""
    found = {name: download.find(file) for name, file in FILES.items()}
    if args.json:
        rows: dict[str, Any] = {"glyphs": {"about": ABOUT["glyphs"], "file": str(glyphs.FILE), "here": True}}
        for name, file in FILES.items():
            path = found[name] or download.places()[0] / file.path
            rows[name] = {"about": ABOUT[name], "file": str(path), "here": found[name] is not None}
            rows[name]["address"] = file.address
        print(json.dumps(rows, indent=2))
        return 0
    cells = [["glyphs", ABOUT["glyphs"], "in the package"]]
    for name, file in FILES.items():
        missing = f"not here; its place is {download.places()[0] / file.path}"
        cells.append([name, ABOUT[name], missing if found[name] is None else str(found[name])])
    print(table(cells, ["name", "what it is", "where it is"]))
    return 0


def run_fetch(args: argparse.Namespace) -> int:
    """Download what is missing of one set and check all of it."""
    names = find("data", args.name, SETS)
    if not names:
        print(f"{args.name} comes with the package; nothing to fetch")
    for name in names:
        print(f"{name}: {download.fetch(FILES[name])}, checked", flush=True)
    return 0


def run_practice(args: argparse.Namespace) -> int:
    """Write an archive of the official layout."""
    challenge.write_practice_runs(args.out, split=args.split, held_out=args.held_out, runs=args.runs, seed=args.seed)
    print(f"{args.runs} runs written to {args.out}")
    print(f"use them:   metabook evaluate RUN --tasks omniglot-challenge --set archive={args.out}")
    return 0
