"""``metabook systems``: the systems that can be trained, with their options."""

from __future__ import annotations

import argparse
import json
from typing import Any

from metabook.commands.options import add_command
from metabook.registry import SYSTEMS


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = add_command(
        commands,
        "systems",
        help="list the systems, what they can learn and their options",
        examples=["metabook systems", "metabook systems --json"],
    )
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Print them."""
    if args.json:
        rows = {
            name: {
                "idea": system.idea,
                "chapter": system.chapter,
                "paper": system.paper,
                "targets": [kind.__name__.lower() for kind in system.kinds],
                "options": system.options(),
            }
            for name, system in SYSTEMS.items()
        }
        print(json.dumps(rows, indent=2))
        return 0
    for name, system in SYSTEMS.items():
        kinds = " and ".join(kind.__name__.lower() for kind in system.kinds)
        print(f"{name}: {system.idea}")
        print(f"  learns {kinds}; chapter {system.chapter}")
        options = ", ".join(f"{key}={value}" for key, value in system.options().items())
        if options:
            print(f"  --set {options}")
    return 0
