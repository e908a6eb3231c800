"""``metabook results``: the recorded numbers beside the published ones."""

from __future__ import annotations

import argparse
import json
from typing import Any

from metabook.commands.options import add_command
from metabook.commands.table import table
from metabook.record import RESULTS
from metabook.registry import find


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = add_command(
        commands,
        "results",
        help="show the recorded results beside the published numbers",
        examples=["metabook results", "metabook results sinusoid-maml glyphs-maml", "metabook results --json"],
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a recorded experiment; all of them when not given")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.set_defaults(command=run)


def recorded() -> dict[str, dict[str, Any]]:
    """Name -> content of every recorded result, by name; those of a table are named TABLE/NAME.

    Raises ValueError if one is damaged.
    """
    found = {}
    for path in sorted(RESULTS.rglob("*.json")):
        name = path.relative_to(RESULTS).with_suffix("").as_posix()
        try:
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"results: {name}.json is not JSON ({error})") from error
    return dict(sorted(found.items()))


def describe(name: str) -> str:
    """The recorded result ``name`` as text: its title and command, every score, and the published numbers beside it.

    A score is the mean over test tasks ± its 95 % interval; means of trainings with other seeds follow.

    Raises ValueError for a name that is not recorded.
    """
    result = find("results", name, recorded())
    lines = [f"{result['title']} ({name})"]
    lines.append(f"  {result['command']}   {result['minutes']:.3g} minutes on {result['device']}")
    rows = []
    for key, score in result["scores"].items():
        others = ", ".join(f"{repeat['scores'][key]['mean']:.4g}" for repeat in result["repeats"])
        seeds = f"other seeds: {others}" if others else ""
        rows.append([key, f"{score['mean']:.4f} ± {_number(score['interval'])}", f"{score['n']} tasks", seeds])
    lines.append(table(rows, indent="  "))
    for p in result["published"]:
        lines.append(f"  published, {p['system']}: {p['value']}\n    {p['source']}; differs: {p['differs']}")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> int:
    """Print them."""
    results = recorded()
    alone = [name for name in results if "/" not in name]
    names = args.names or alone
    chosen = {name: find("results", name, results) for name in names}
    if args.json:
        print(json.dumps(chosen, indent=2, ensure_ascii=False))
        return 0
    if not results:
        print("no results are recorded yet")
    for name in names:
        print(describe(name), end="\n\n")
    if not args.names and len(alone) < len(results):
        rest = [name for name in results if "/" in name]
        print(f"and {len(rest)} rows of tables, by name: {', '.join(rest)}")
    return 0


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"
