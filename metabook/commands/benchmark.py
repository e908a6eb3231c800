"""``metabook benchmark``: the package's speed against plain loops on this machine."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from metabook.commands import options


def add(commands: Any) -> None:
    """Declare the arguments."""
    parser = options.add_command(
        commands,
        "benchmark",
        help="measure the speed against plain loops on this machine",
        examples=["metabook benchmark --quick", "metabook benchmark --device cuda --json"],
    )
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    options.add_machine_arguments(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Print the ratios, as ``python -m metabook.benchmark`` does."""
    flags = ["--quick"] * args.quick + ["--json"] * args.json
    device = [] if args.device is None else ["--device", args.device]
    status: int = import_module("metabook.benchmark").main(flags + device)
    return status
