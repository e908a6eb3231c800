"""pytest over the tests, and nbval over the notebooks: every cell runs and gives its stored output.

A notebook is compared again only when it, the package or an installed version changed since every one of its code
cells passed; the record of that lies in _build/cache, so a fresh clone compares all of them. METABOOK_FRESH=1 does too.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import fingerprint
import pytest
import setup_cell

ROOT = fingerprint.ROOT
PASSED = fingerprint.CACHE / "compared"


class Record:
    """Counts, for each notebook, the cells that passed; anything else about a notebook bars it from the record."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.barred: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("::")[0]
        if not report.passed:
            self.barred.add(name)
        elif report.when == "call":
            self.passed[name] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self.barred.add(report.nodeid.partition("::")[0])


def code_cells(path: Path) -> int:
    return sum(cell["cell_type"] == "code" for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


def main(arguments: list[str]) -> int:
    paths = {str(p.relative_to(ROOT)): p for p in setup_cell.notebooks()}
    keys = {name: fingerprint.comparison(path) for name, path in paths.items()}
    fresh = bool(os.environ.get("METABOOK_FRESH"))
    due = [name for name, key in keys.items() if fresh or not (PASSED / key).exists()]
    for name in sorted(set(paths) - set(due)):
        print(f"{name}: passed before, nothing changed since")
    os.chdir(ROOT)
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    nbval = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=300"]
    nbval += [f"--nbval-sanitize-with={fingerprint.TOOLS / 'sanitize.cfg'}"]
    os.environ.pop("MPLBACKEND", None)  # figures need the notebook's own backend
    record = Record()
    status = pytest.main(["tests", *due, *nbval, "--dist=loadscope", *arguments], plugins=[record])
    fingerprint.package.cache_clear()  # files may have changed while the tests ran
    for name in due:
        whole = name not in record.barred and record.passed[name] == code_cells(paths[name]) > 0
        if whole and fingerprint.comparison(paths[name]) == keys[name]:
            PASSED.mkdir(parents=True, exist_ok=True)
            (PASSED / keys[name]).write_text(name + "\n", encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
