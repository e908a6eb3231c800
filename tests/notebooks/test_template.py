"""Every notebook has the shape that readers of the others know, and carries its outputs."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)

#: Headings, in this order, others between them. A notebook on one system has more of its own.
SECTIONS = [
    "the problem in one picture",
    "the idea",
    "from scratch",
    "the package's own source",
    "common mistakes",
    "summary",
    "exercises",
    "references",
]
#: What Colab has without being asked, beside the standard library.
IMPORTS = {"torch", "numpy", "matplotlib", "PIL", "IPython", "metabook"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request: pytest.FixtureRequest) -> dict:
    return json.loads(request.param.read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def cells(notebook: dict, kind: str) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def headings(notebook: dict) -> list[str]:
    text = "\n".join(source(cell) for cell in cells(notebook, "markdown"))
    return [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("## ")]


def section(notebook: dict, name: str) -> str:
    """The text under a heading, up to the next one."""
    text = "\n\n".join(source(cell) for cell in cells(notebook, "markdown"))
    return re.split(r"^## ", text.partition(f"## {name}")[2], flags=re.MULTILINE)[0]


def plain(code: str) -> ast.Module:
    """The code without the lines that only IPython understands."""
    return ast.parse(re.sub(r"^( *)[%!].*$", r"\1pass", code, flags=re.MULTILINE))


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_sections_in_order(notebook):
    found = headings(notebook)
    place = -1
    for wanted in SECTIONS:
        later = [i for i, heading in enumerate(found) if i > place and wanted in heading]
        assert later, f"no section '{wanted}' after '{found[place] if place >= 0 else 'the title'}' in {found}"
        place = later[0]


def test_front_says_what_needs_time_and_sources(notebook):
    first = notebook["cells"][0]
    text = source(first)
    assert first["cell_type"] == "markdown" and text.startswith("# ")
    assert re.search(r"^\*\*.+\*\*$", text, re.MULTILINE), "a claim in one bold sentence"
    assert len(re.findall(r"^\d\. ", text, re.MULTILINE)) == 3, "three things that the reader will do"
    for word in ("*Needs:*", "*Time:*", "*Source"):
        assert word in text, word


def test_number_and_length_of_cells(notebook):
    assert 25 <= len(notebook["cells"]) <= 35
    for cell in cells(notebook, "code")[1:]:
        lines = [line for line in source(cell).splitlines() if line.strip()]
        assert len(lines) <= 15, source(cell)[:80]


def test_first_code_is_the_set_up_cell_then_the_parameters(notebook, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_tools"))
    import setup_cell

    first, second = cells(notebook, "code")[:2]
    assert source(first) == setup_cell.text()
    assert "parameters" in tags(second)
    names = [target.id for line in plain(source(second)).body for target in line.targets]
    assert "seed" in names
    assert [cell for cell in cells(notebook, "code") if "parameters" in tags(cell)] == [second]


def test_no_cell_ends_with_a_semicolon(notebook):
    """It hides a value from some runs of a notebook and not from others; ``_ = ...`` hides it always."""
    for cell in cells(notebook, "code"):
        assert not source(cell).rstrip().endswith(";"), source(cell).splitlines()[-1]


def test_cells_have_ids_and_nothing_is_left_of_the_run(notebook):
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert "papermill" not in notebook["metadata"] and "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert "injected-parameters" not in tags(cell)
        assert not {"papermill", "execution"} & set(cell["metadata"])


def test_stored_outputs_are_whole_and_clean(notebook):
    code = cells(notebook, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run once, from top to bottom"
    for cell in code:
        for output in cell["outputs"]:
            assert output["output_type"] != "error", source(cell)[:80]
            assert output.get("name") != "stderr", source(cell)[:80]
            assert not any("widget" in kind or "javascript" in kind for kind in output.get("data", {}))
            text = "".join("".join(output.get("data", {}).get(kind, "")) for kind in ("text/plain", "text/markdown"))
            assert not re.search(r"(/tmp|/home|/root|/Users)/", text + "".join(output.get("text", ""))), text


def test_figures_have_a_description(notebook):
    figures = 0
    for cell in cells(notebook, "code"):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            figures += 1
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) >= 30, f"alt text (metadata mystnb.image.alt) of the figure of: {source(cell)[:80]}"
    assert figures >= 1


def test_scratch_meets_package_in_float64(notebook):
    code = "\n".join(source(cell) for cell in cells(notebook, "code"))
    assert "inspect.getsource" in code, "the package's source by inspection"
    assert "assert_close" in code and ("float64" in code or ".double()" in code), "equality in float64"


def test_numbers_that_depend_on_the_processor_are_asserted(notebook):
    code = cells(notebook, "code")
    for i, cell in enumerate(code):
        if "nbval-ignore-output" in tags(cell) and "getsource" not in source(cell):
            near = "\n".join(source(c) for c in code[i : i + 3])
            assert "assert" in near, f"nothing is asserted of: {source(cell)[:80]}"


def test_exercises_have_folded_solutions(notebook):
    text = section(notebook, "Exercises")
    solutions = re.findall(r"<details>\s*<summary>Solution</summary>(.*?)</details>", text, re.DOTALL)
    assert 3 <= len(solutions) <= 5
    assert text.count("<details>") == text.count("</details>") == len(solutions)
    for solution in solutions:
        assert solution.startswith("\n\n") and solution.endswith("\n\n"), "blank lines: what is inside stays Markdown"
        for code in re.findall(r"```python\n(.*?)```", solution, re.DOTALL):
            plain(code)


def test_imports_only_what_colab_has(notebook):
    for cell in cells(notebook, "code"):
        for node in ast.walk(plain(source(cell))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in {n.partition(".")[0] for n in names}:
                assert name in IMPORTS or name in sys.stdlib_module_names, name


def test_named_tests_exist(notebook):
    known = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    text = "\n".join(source(cell) for cell in cells(notebook, "markdown"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named, "each pitfall names the test that holds it"
    missing = [name for name in named if f"def {name}(" not in known]
    assert not missing, missing


def test_files_stay_small():
    big = {p.name: p.stat().st_size for p in NOTEBOOKS if p.stat().st_size > 1_500_000}
    assert not big, big
