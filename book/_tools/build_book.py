"""Build the book from the executed notebooks: _build/src -> _build/html. A warning of Sphinx is a failure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import fingerprint
import torch_inventory

ROOT = fingerprint.ROOT
SOURCE = ROOT / "_build" / "src"


def main() -> int:
    SOURCE.mkdir(parents=True, exist_ok=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copyfile(ROOT / name, SOURCE / name)
    shutil.rmtree(SOURCE / "book", ignore_errors=True)
    shutil.copytree(ROOT / "book", SOURCE / "book", ignore=shutil.ignore_patterns("__pycache__", "_tools"))
    torch_inventory.write(SOURCE / "book" / "_static" / "torch.inv")
    # From nothing each time: Sphinx repeats no warning about a page that it did not read again.
    for name in ("html", ".doctrees"):
        shutil.rmtree(ROOT / "_build" / name, ignore_errors=True)
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", str(SOURCE), "--path-output", str(ROOT)]
    status = subprocess.run([*command, "-W", "-n", "--keep-going", "-q"], cwd=ROOT).returncode
    page = ROOT / "_build" / "html" / "index.html"
    if status == 0:
        print(f"The book: {page}")
    return status


if __name__ == "__main__":
    sys.exit(main())
