"""The tools of `make book` and `make test`: what is run again, what is kept, and that a failure is never hidden."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import execute_notebooks
import fingerprint
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
FIGURE = "import matplotlib.pyplot as plt; plt.plot([1]);"


def notebook(path: Path, *sources: str, outputs: tuple[str, ...] = ()) -> Path:
    """A notebook of code cells; the second is tagged parameters."""
    cells = [new_code_cell(source) for source in sources]
    for cell, text in zip(cells, outputs, strict=False):
        cell.outputs = [new_output("stream", name="stdout", text=text)] if text else []
        cell.execution_count = 1
    if len(cells) > 1:
        cells[1].metadata["tags"] = ["parameters"]
    found = new_notebook(cells=[new_markdown_cell("# Title"), *cells])
    found.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(found, path)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small copy: tools, a package of one line, no notebooks."""
    shutil.copytree(
        ROOT / "book" / "_tools", tmp_path / "book" / "_tools", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("metabook", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "metabook" / "one.py").write_text("x = 1\n")
    (tmp_path / "tests" / "test_one.py").write_text("def test_one():\n    assert True\n")
    return tmp_path


def run(project: Path, tool: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, str(project / "book" / "_tools" / f"{tool}.py"), *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_execute_keeps_and_repeats(project: Path) -> None:
    path = project / "notebooks" / "a" / "one.ipynb"
    notebook(path, "import pathlib", 'characters = "glyphs"', "print(characters)")
    target = project / "_build" / "src" / "notebooks" / "a" / "one.ipynb"
    status, said = run(project, "execute_notebooks")
    assert (status, "started" in said, "done in" in said) == (0, True, True), said
    done = nbformat.read(target, 4)
    assert done.cells[-1].outputs[0].text == "glyphs\n"
    assert "papermill" not in done.metadata
    assert len(done.cells) == 4
    assert "unchanged" in run(project, "execute_notebooks")[1]
    # Another parameter, and it is passed to the notebook.
    status, said = run(project, "execute_notebooks", "--characters", "omniglot")
    assert "started, characters = omniglot" in said
    assert nbformat.read(target, 4).cells[-1].outputs[0].text == "omniglot\n"
    # A change of the package.
    (project / "metabook" / "one.py").write_text("x = 2\n")
    assert "started" in run(project, "execute_notebooks")[1]
    # A failure says where, is not kept, and leaves no page behind.
    notebook(path, "1 / 0", "characters = 1")
    status, said = run(project, "execute_notebooks")
    assert status == 1
    assert "ZeroDivisionError" in said
    assert "failed: notebooks/a/one.ipynb" in said
    assert not target.exists()
    assert len(list((project / "_build" / "cache" / "executed").iterdir())) == 3


def test_execute_in_place_is_stable(project: Path) -> None:
    path = notebook(project / "notebooks" / "one.ipynb", "print(1)", "y = 2", FIGURE)
    assert run(project, "execute_notebooks", "--in-place")[0] == 0
    first = path.read_bytes()
    found = nbformat.read(path, 4)
    assert found.cells[1].outputs[0].text == "1\n"
    assert "image/png" in found.cells[3].outputs[0].data
    assert [c.metadata for c in found.cells if c.cell_type == "code"] == [{}, {"tags": ["parameters"]}, {}]
    assert run(project, "execute_notebooks", "--in-place")[0] == 0
    assert path.read_bytes() == first


def test_compare_keeps_success_only(project: Path) -> None:
    path = notebook(project / "notebooks" / "one.ipynb", "print(1)", "y = 2", outputs=("1\n", ""))
    status, said = run(project, "run_tests", "-q")
    assert (status, "3 passed" in said) == (0, True), said
    status, said = run(project, "run_tests", "-q")
    assert (status, "1 passed" in said, "passed before" in said) == (0, True, True), said
    # An output that is not the stored one fails, each time.
    notebook(path, "print(1)", "y = 2", outputs=("2\n", ""))
    for _ in range(2):
        status, said = run(project, "run_tests", "-q")
        assert (status, "1 failed" in said) == (1, True), said
    # A failing test keeps the notebook's own success, and still fails.
    notebook(path, "print(1)", "y = 2", outputs=("1\n", ""))
    (project / "tests" / "test_one.py").write_text("def test_one():\n    assert False\n")
    assert run(project, "run_tests", "-q")[0] == 1


def test_keys(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "ROOT", project)
    monkeypatch.setattr(fingerprint, "TOOLS", project / "book" / "_tools")
    path = notebook(project / "notebooks" / "one.ipynb", "print(1)", "y = 2", outputs=("1\n", ""))

    def keys() -> tuple[str, str]:
        fingerprint.package.cache_clear()
        return fingerprint.execution(path, {}), fingerprint.comparison(path)

    first = keys()
    try:
        assert keys() == first
        assert fingerprint.execution(path, {"characters": "omniglot"}) != first[0]
        notebook(path, "print(1)", "y = 2", outputs=("2\n", ""))  # an output: compared again, executed not
        assert keys()[1] != first[1]
        notebook(path, "print(1)", "y = 3", outputs=("1\n", ""))
        assert keys()[0] != first[0]
        (project / "metabook" / "one.py").write_text("x = 3\n")
        second = keys()
        (project / "metabook" / "data.npz").write_bytes(b"data")
        assert len({first, second, keys()}) == 3
        assert all(a != b for a, b in zip(second, keys(), strict=True))
    finally:
        fingerprint.package.cache_clear()


def test_parameters_are_passed_only_where_they_change_something(tmp_path: Path) -> None:
    with_it = notebook(tmp_path / "a.ipynb", "1", 'characters = "glyphs"')
    without = notebook(tmp_path / "b.ipynb", "1", "steps = 3")
    assert execute_notebooks.parameters(with_it, "omniglot") == {"characters": "omniglot"}
    assert execute_notebooks.parameters(with_it, "glyphs") == {}
    assert execute_notebooks.parameters(without, "omniglot") == {}
