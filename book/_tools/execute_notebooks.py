"""Execute every notebook with papermill, some at a time, and keep the results by content.

Executed notebooks go to _build/src/notebooks, where the book is built from. A notebook is executed again only when
its cells, its parameters, the package or an installed version changed. With --in-place the outputs are written back
into the sources, without anything that changes from run to run.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fingerprint
import nbformat
import papermill
import setup_cell

ROOT = fingerprint.ROOT
EVERY = 20.0  # seconds between two lines about one notebook
printing = threading.Lock()


def say(text: str) -> None:
    with printing:
        print(text, flush=True)


def parameters(path: Path, characters: str) -> dict[str, str]:
    """What to pass to the notebook: ``characters``, where its parameters cell has it with another default."""
    found = papermill.inspect_notebook(str(path)).get("characters")
    return {"characters": characters} if found and ast.literal_eval(found["default"]) != characters else {}


def clean(path: Path) -> None:
    """Drop the metadata that papermill and the kernel add and that differ from run to run; keep the outputs."""
    notebook = nbformat.read(path, 4)
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if cell.metadata.get("tags") == []:
            cell.metadata.pop("tags")
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def run(path: Path, target: Path, values: dict[str, str]) -> str | None:
    """Execute ``path`` into ``target`` from an empty folder; None, or the text of the failure."""
    name = path.relative_to(ROOT)
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}  # figures need the notebook's own backend
    environment |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "papermill", str(path), str(target), "--cwd", folder, "-k", "python3"]
        command += ["--no-progress-bar", "--log-output"]
        for key, value in values.items():
            command += ["-r", key, value]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        began = shown = time.monotonic()
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if (cell := re.search(r"Executing Cell (\d+)", line)) and time.monotonic() - shown > EVERY:
                shown = time.monotonic()
                say(f"  {name}: cell {cell[1]}, {shown - began:.0f} s")
        return None if process.wait() == 0 else "".join(lines[-60:])


def execute(path: Path, characters: str, in_place: bool) -> bool:
    """Bring one notebook up to date; True if that went well."""
    name = path.relative_to(ROOT)
    values = {} if in_place else parameters(path, characters)
    kept = fingerprint.CACHE / "executed" / f"{path.stem}-{fingerprint.execution(path, values)}.ipynb"
    if in_place or not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(f".{os.getpid()}.part")
        say(f"  {name}: started{''.join(f', {k} = {v}' for k, v in values.items())}")
        began = time.monotonic()
        try:
            if failure := run(path, beside, values):
                say(f"  {name}: FAILED after {time.monotonic() - began:.0f} s\n{failure}")
                return False
            clean(beside)
            os.replace(beside, kept)
        finally:
            beside.unlink(missing_ok=True)
        say(f"  {name}: done in {time.monotonic() - began:.0f} s")
    else:
        say(f"  {name}: unchanged")
    target = path if in_place else ROOT / "_build" / "src" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(kept, part)
    os.replace(part, target)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Execute the notebooks of the book.")
    parser.add_argument("only", nargs="*", type=Path, metavar="NOTEBOOK", help="these alone; all when none is given")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time (2)")
    parser.add_argument("--characters", default="glyphs", choices=["glyphs", "omniglot"], help="images (glyphs)")
    parser.add_argument("--in-place", action="store_true", help="refresh the stored outputs")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs: {arguments.jobs} given; at least 1 is needed")
    paths = setup_cell.notebooks()
    only = [path.resolve() for path in arguments.only]
    if unknown := [str(path) for path in only if path not in paths]:
        parser.error(f"NOTEBOOK: {', '.join(unknown)} given; the notebooks are the files under notebooks/")
    if only:
        paths = only
    else:
        shutil.rmtree(ROOT / "_build" / "src" / "notebooks", ignore_errors=True)
    print(f"{len(paths)} notebooks, {arguments.jobs} at a time", flush=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        well = list(pool.map(lambda p: execute(p, arguments.characters, arguments.in_place), paths))
    failed = [str(p.relative_to(ROOT)) for p, good in zip(paths, well, strict=True) if not good]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main())
