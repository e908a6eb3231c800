"""The book's sources: every page is in the table of contents, every notebook has what all notebooks have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import setup_cell

ROOT = Path(__file__).resolve().parents[2]
LISTED = re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
NOTEBOOKS = [str(p.relative_to(ROOT)) for p in setup_cell.notebooks()]


def cells(name: str) -> list[dict]:
    return json.loads((ROOT / name).read_text("utf-8"))["cells"]


def test_every_page_is_in_the_contents_once() -> None:
    pages = [p for folder in ("book", "notebooks") for e in ("md", "ipynb") for p in (ROOT / folder).rglob(f"*.{e}")]
    there = {str(p.relative_to(ROOT).with_suffix("")) for p in pages if ".ipynb_checkpoints" not in p.parts}
    assert set(LISTED) == there
    assert len(LISTED) == len(set(LISTED))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name: str) -> None:
    found = cells(name)
    code = [c for c in found if c["cell_type"] == "code"]
    tags = [c["metadata"].get("tags", []) for c in code]
    assert found[0]["cell_type"] == "markdown" and "".join(found[0]["source"]).startswith("# ")
    assert sum("parameters" in t for t in tags) == 1, "one cell is tagged parameters"
    assert not any("injected-parameters" in t for t in tags), "papermill's own cell was stored"
    assert all(c["execution_count"] for c in code), "outputs are stored: run make notebooks"
    assert len({c["id"] for c in found}) == len(found)
    assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]
    too_long = [c["id"] for c in code[1:] if len("".join(c["source"]).splitlines()) > 22]
    assert not too_long


def test_every_figure_says_what_it_shows() -> None:
    for path in (ROOT / "book").rglob("*.md"):
        text = path.read_text("utf-8")
        for block in re.findall(r"^[`:]{3,}\{(?:figure|image)\}.*?^[`:]{3,}$", text, re.DOTALL | re.MULTILINE):
            assert re.search(r"^:alt: \S", block, re.MULTILINE), f"{path.name}: {block.splitlines()[0]} has no alt text"
        assert not re.findall(r"!\[\]\(", text), f"{path.name}: a picture without alt text"
