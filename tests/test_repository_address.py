"""The repository's address stands in pyproject.toml; every copy of it is equal, and one command changes them all."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import address as address_tool
import pytest
import repository
import setup_cell

ROOT = Path(__file__).resolve().parents[1]
OURS = re.compile(r"https://github\.com/([\w.-]+/metabook)\b")


@pytest.mark.parametrize("name", address_tool.COPIES)
def test_every_copy_is_the_address(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert {f"https://github.com/{m}" for m in OURS.findall(text)} - {"https://github.com/you/metabook"} == {
        repository.address()
    }


def test_every_notebook_begins_with_the_set_up_cell() -> None:
    paths = setup_cell.notebooks()
    assert paths
    for path in paths:
        code = [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
        assert "".join(code[0]["source"]) == setup_cell.text(), f"{path.relative_to(ROOT)}: the first code cell differs"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository with one notebook."""
    for name in address_tool.COPIES:
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    cells = [{"cell_type": "code", "source": setup_cell.text().splitlines(keepends=True)}]
    (tmp_path / "notebooks" / "one.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return tmp_path


def test_one_command_changes_it_everywhere(copy: Path) -> None:
    new = "https://github.com/somebody/fork-of-it"
    changed = address_tool.change(new + ".git", copy)
    assert {p.name for p in changed} == {*address_tool.COPIES, "one.ipynb"}
    assert repository.address(copy) == new
    for path in changed:
        text = path.read_text("utf-8")
        assert new in text
        assert repository.address() not in text
    assert address_tool.change(new, copy) == []


@pytest.mark.parametrize("url", ["", "metabook", "http://github.com/a/b", "https://github.com/a", "https://a/b/c d"])
def test_no_address(copy: Path, url: str) -> None:
    before = (copy / "pyproject.toml").read_bytes()
    with pytest.raises(ValueError, match="URL"):
        address_tool.change(url, copy)
    assert (copy / "pyproject.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b"),
        ("https://token@github.com/a/b", "https://github.com/a/b"),
        ("git@github.com:a/b.c.git\n", "https://github.com/a/b.c"),
        ("ssh://git@github.com/a/b", "https://github.com/a/b"),
        ("/srv/git/b.git", None),
    ],
)
def test_remote(remote: str, url: str | None) -> None:
    assert repository.from_remote(remote) == url


def test_where_this_copy_lives(monkeypatch: pytest.MonkeyPatch, copy: Path) -> None:
    for name in ("METABOOK_REPOSITORY_URL", "GITHUB_REPOSITORY", "GITHUB_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(copy.parent))
    assert repository.current(copy) == repository.address()
    monkeypatch.setenv("GITHUB_REPOSITORY", "fork/book")
    assert repository.current(copy) == "https://github.com/fork/book"
    monkeypatch.setenv("METABOOK_REPOSITORY_URL", "https://example.org/x/y/")
    assert repository.current(copy) == "https://example.org/x/y"


def test_pages() -> None:
    assert repository.pages("https://github.com/Some/metabook") == "https://some.github.io/metabook/"
