"""``metabook results``: the recorded numbers beside the published ones."""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from typing import Any

from metabook.commands.options import add_command
from metabook.commands.table import table


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = add_command(
        commands,
        "results",
        help="show the recorded results beside the published numbers",
        examples=["metabook results", "metabook results --json"],
    )
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.set_defaults(command=run)


def recorded() -> dict[str, dict[str, Any]]:
    """Name -> content of every recorded result, by name. Raises ValueError if one is damaged."""
    found = {}
    for entry in sorted(files("metabook").joinpath("results").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".json"):
            try:
                found[entry.name.removesuffix(".json")] = json.loads(entry.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"results: {entry.name} is not JSON ({error})") from error
    return found


def run(args: argparse.Namespace) -> int:
    """Print them."""
    results = recorded()
    if args.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
        return 0
    if not results:
        print("no results are recorded yet")
    for name, result in results.items():
        print(f"{result['title']} ({name})")
        print(f"  {result['command']}")
        rows = [
            [key, f"{s['mean']:.4f} ± {_number(s['interval'])}", f"{s['n']} tasks"]
            for key, s in result["scores"].items()
        ]
        rows += [[f"published: {p['system']}", str(p["value"]), _source(p)] for p in result.get("published", [])]
        print(table(rows, indent="  "), end="\n\n")
    return 0


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"


def _source(published: dict[str, Any]) -> str:
    differs = published.get("differs")
    return f"{published['source']}" + (f"; differs: {differs}" if differs else "")
