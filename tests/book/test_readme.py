"""What the README says works, in the order it says it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_the_library_lines_run(tmp_path: Path) -> None:
    program = "\n".join(blocks("python"))
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    near = float(re.findall(r"tensor\(\[\[\[(-?[\d.]+)\]\]\]", done.stdout)[0])
    assert abs(near + 1.68) < 0.5, done.stdout
    assert (tmp_path / "maml.pt").is_file()


def test_the_commands_are_understood() -> None:
    from metabook.cli import make_parser

    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("metabook ")]
    assert len(lines) >= 3
    for line in lines:
        arguments = make_parser().parse_args(shlex.split(line, comments=True)[1:])
        assert callable(arguments.command), line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_make_targets_exist() -> None:
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for name in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        for target in re.findall(r"^make ([a-z]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE):
            assert target in rules, f"{name}: make {target}"
