"""The set-up cell: the first code cell of every notebook, the same in all but the address, which has one place."""

from __future__ import annotations

import json
from pathlib import Path

import repository

TEXT = """\
# Set-up: on Colab this installs metabook; after `make book` it is there already.
try:
    from metabook import MetaLearner  # an unrelated program is also named metabook
except ImportError:
    %pip uninstall -qqy metabook
    %pip install -q git+{address}
    import importlib
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "metabook"]:
        del sys.modules[name]
    importlib.invalidate_caches()

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
    """Write ``new`` over the set-up cell ``old`` of the notebook at ``path``; True if it was there."""
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
