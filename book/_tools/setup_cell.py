"""The set-up cell: the first code cell of every notebook, the same in all but the address, which has one place."""

from __future__ import annotations

import json
from pathlib import Path

import repository

# It asks for the distribution by its own name: an unrelated program is importable as metabook too, and an error inside
# an installed metabook must show, not lead to an installation.
TEXT = """\
# Set-up: installs metabook where it is missing, on Colab for example.
from importlib.metadata import PackageNotFoundError, version

try:
    version("metabook-torch")
except PackageNotFoundError:
    # An unrelated program has the same import name.
    %pip uninstall -qqy metabook
    %pip install -q git+{address}

import metabook.plots

%config InlineBackend.figure_formats = ["retina"]
metabook.plots.use_style()"""


def text(address: str | None = None) -> str:
    """The source of the cell, for ``address`` or for the address in pyproject.toml."""
    return TEXT.format(address=address or repository.address())


def notebooks(root: Path = repository.ROOT) -> list[Path]:
    """Every notebook of the book, in order of name."""
    return sorted(p for p in (root / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def replace(path: Path, old: str, new: str) -> bool:
    """Write ``new`` over the set-up cell ``old`` of the notebook at ``path``; True if that changed it."""
    if old == new:
        return False
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = False
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "".join(cell["source"]) == old:
            cell["source"] = new.splitlines(keepends=True)
            found = True
    if found:
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    print(text())
