"""The table of recorded results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import results_table

RECORD = {
    "title": "MAML, sinusoids",
    "system": "maml",
    "tasks": "sinusoids",
    "command": "metabook train maml --tasks sinusoids",
    "seed": 0,
    "device": "cpu",
    "torch": "2.13.0",
    "python": "3.11.7",
    "date": "2026-11-21",
    "minutes": 2.5,
    "settings": {"steps": 70000},
    "scores": {"mse, 5-shot": {"mean": 0.58612, "interval": 0.0213, "n": 2000}},
    "published": [{"system": "MAML", "value": "0.7", "source": "Finn 2017", "differs": "Fewer | tasks."}],
}


def write(folder: Path, name: str, **changes: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps({**RECORD, **changes}), encoding="utf-8")


def test_select(tmp_path: Path) -> None:
    write(tmp_path, "b", tasks="omniglot")
    write(tmp_path, "a", tasks="omniglot", system="prototypical")
    write(tmp_path, "c")
    assert [r["name"] for r in results_table.select({}, tmp_path)] == ["b", "a", "c"]
    assert [r["name"] for r in results_table.select({"tasks": "omni*"}, tmp_path)] == ["b", "a"]
    assert [r["name"] for r in results_table.select({"tasks": "omni*", "system": "maml"}, tmp_path)] == ["b"]
    assert results_table.select({"name": "z*"}, tmp_path) == []


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    record = {k: v for k, v in RECORD.items() if k not in ("seed", "command")}
    (tmp_path / "x.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.json: command, seed missing"):
        results_table.select({}, tmp_path)


@pytest.mark.parametrize(
    ("mean", "interval", "text"),
    [
        (0.58612, 0.0213, "0.586 ± 0.021"),
        (0.9876, 0.0019, "0.9876 ± 0.0019"),
        (12.345, 1.5, "12.3 ± 1.5"),
        (1.0, 0.0, "1.000000 ± 0.000000"),
        (0.25, None, "0.25"),
    ],
)
def test_score(mean: float, interval: float | None, text: str) -> None:
    assert results_table.score({"mean": mean, "interval": interval}) == text


def test_markdown_says_everything(tmp_path: Path) -> None:
    write(tmp_path, "a")
    text = "\n".join(results_table.markdown(results_table.select({}, tmp_path)))
    for part in ("0.586 ± 0.021", "| 2000 |", "0.7 (Finn 2017)", RECORD["command"], "cpu", "torch 2.13.0", "Seed 0"):
        assert str(part) in text
    for part in ("Python 3.11.7", "2026-11-21", "2.5 minutes", "`steps = 70000`", "Fewer | tasks."):
        assert part in text


def test_other_seeds_are_in_the_table(tmp_path: Path) -> None:
    name = next(iter(RECORD["scores"]))
    repeats = [{"seed": s, "scores": {k: {"mean": m} for k in RECORD["scores"]}} for s, m in ((1, 0.5), (2, 4.3e13))]
    write(tmp_path, "a", repeats=repeats)
    assert f"| {name}; other seeds: 0.5, 4.3e+13 |" in results_table.markdown(results_table.select({}, tmp_path))[2]


def test_a_bar_does_not_break_the_table(tmp_path: Path) -> None:
    write(tmp_path, "a", title="one | two")
    row = results_table.markdown(results_table.select({}, tmp_path))[2]
    assert row.startswith("| one \\| two |")


def test_the_recorded_results_are_complete() -> None:
    for record in results_table.select({}):
        assert record["scores"]
        for value in record["scores"].values():
            assert value["n"] >= 20
            assert value["interval"] >= 0
        for other in record["published"]:
            assert other["source"]
            assert other["differs"], f"{record['name']}: say how the published set-up differs"
