"""The command line: ``metabook ...`` and ``python -m metabook ...``.

Exit status: 0 done, 2 an error of the input (one line on stderr), 130 stopped by Ctrl-C. Bugs keep their traceback.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from metabook.commands import benchmark, data, evaluate, predict, results, systems, train

COMMANDS = (systems, train, evaluate, predict, data, results, benchmark)

EXAMPLES = """\
from nothing to a prediction on your own images:
  metabook train prototypical --tasks glyphs --out runs/proto
  metabook predict runs/proto --support my_images/ --query new.png

metabook COMMAND --help says more, with examples.
"""


class _Parser(argparse.ArgumentParser):
    """Reports mistakes the way every other error is reported."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from metabook import __version__

    parser = _Parser(
        prog="metabook",
        description="Meta-learning in PyTorch: train a system on many small tasks, then let it learn yours.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"metabook {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` without the program's name, ``sys.argv[1:]`` when None. Returns the exit status."""
    parser = make_parser()
    try:
        try:
            args = parser.parse_args(argv)
            if not hasattr(args, "command"):
                parser.print_help()
                return 0
            status: int = args.command(args)
        finally:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except KeyboardInterrupt:
        print("metabook: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if not _expected(error):
            raise
        print(f"metabook: error: {_one_line(error)}", file=sys.stderr)
        return 2


def _silence_stdout() -> None:
    """The reader of our output has gone (``metabook results | head``): nothing more can be written."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _expected(error: Exception) -> bool:
    """True for errors that our own checks or the operating system raise; anything else is a bug.

    Our checks raise inside this package and begin with the argument's name and a colon.
    """
    if isinstance(error, OSError):
        return True
    if not isinstance(error, (ValueError, TypeError, FloatingPointError)):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    ours = trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parent)
    return ours and re.match(r"\S[^:]*: ", str(error)) is not None


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())
