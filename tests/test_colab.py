"""A notebook as Colab runs it: an empty folder, the packages that are there anyway, and only the wheel of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setup_cell

ROOT = Path(__file__).resolve().parents[1]


def run(command: list[str], folder: Path, **extra: str) -> str:
    """The output of ``command``, run in ``folder``; an assertion with that output if it fails."""
    hidden = ("PYTHONPATH", "MPLBACKEND", "METABOOK_DATA")
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"OMP_NUM_THREADS": "1", **extra}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of what it is made of."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "metabook").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*pip, "-w", str(out), str(source)], out)
    (found,) = out.glob("*.whl")
    return found


def test_what_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.startswith("metabook_torch-") and wheel.name.endswith("-py3-none-any.whl")
    wanted = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "metabook").rglob("*")
        if p.suffix in (".py", ".json", ".npz", ".typed") and "__pycache__" not in p.parts
    }
    assert wanted <= names, f"missing in the wheel: {sorted(wanted - names)}"
    assert "metabook/py.typed" in names
    others = {name for name in names if not name.startswith(("metabook/", "metabook_torch-"))}
    assert not others, f"not ours to install: {sorted(others)}"
    tests = {name for name in names if "tests" in Path(name).parts or Path(name).name.startswith(("test_", "conftest"))}
    assert not tests, f"tests in the wheel: {sorted(tests)}"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents, as an installation would lay them out."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    run(pip, folder)
    return folder


def test_the_wheel_is_what_is_imported(installed: Path, tmp_path: Path) -> None:
    code = "import metabook, importlib.metadata as m; print(metabook.__file__, m.version('metabook-torch'))"
    said = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(installed)).split()
    assert Path(said[0]).is_relative_to(installed)


def test_the_commands_run(installed: Path, tmp_path: Path) -> None:
    said = run([sys.executable, "-m", "metabook", "systems", "--json"], tmp_path, PYTHONPATH=str(installed))
    assert "maml" in said


@pytest.mark.skipif(not setup_cell.notebooks(), reason="no notebook yet")
def test_a_notebook_runs_as_on_colab(installed: Path, tmp_path: Path) -> None:
    """The shortest notebook, from an empty folder; its set-up cell finds the wheel and installs nothing."""
    path = min(setup_cell.notebooks(), key=lambda p: len(json.loads(p.read_text("utf-8"))["cells"]))
    command = [sys.executable, "-m", "papermill", str(path), "out.ipynb", "--no-progress-bar", "-k", "python3"]
    run(command, tmp_path, PYTHONPATH=str(installed))
    done = json.loads((tmp_path / "out.ipynb").read_text("utf-8"))
    code = [cell for cell in done["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    assert code[0]["outputs"] == [], "the set-up cell printed something: it tried to install"
    errors = [o["text"] for c in code for o in c["outputs"] if o.get("name") == "stderr"]
    assert errors == []
    assert {p.name for p in tmp_path.iterdir()} == {"out.ipynb"}, "the notebook left files behind"
