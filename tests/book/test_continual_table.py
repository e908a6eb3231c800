"""The tables and the figure of training on other tasks and back: means over seeds of differences within a seed."""

import json
import statistics
from pathlib import Path

import draw_figures
import pytest
from comparison_table import half
from continual_table import markdown, tables

from metabook.commands.results import recorded
from metabook.recipes.continual import FIRST, RECIPES, SECOND

TESTS = (FIRST, SECOND)


def points(name, *scores):
    return [{"steps": 5 * i, name: {"mean": s}} for i, s in enumerate(scores)]


def both(letters, digits):
    return [a | b for a, b in zip(points("letters", *letters), points("digits", *digits), strict=True)]


SEED = {
    "away": both((0.8, 0.7), (0.6, 0.9)),
    "back": both((0.7, 0.75), (0.9, 0.8)),
    "stay": points("letters", 0.8, 0.78),
    "fresh": points("digits", 0.2, 0.5),
}
OTHER = {**SEED, "away": both((0.8, 0.68), (0.6, 0.9))}
RECORD = {"title": "A learner", "system": "a-learner", "curves": [SEED]}


def test_numbers_by_hand():
    """Letters 0.8 -> 0.7 away, 0.78 had it stayed; digits 0.9 against 0.5 from first weights."""
    head, _, start, away, back = markdown(RECORD, "letters", "digits")
    assert head.count("|") == 8 and "letters: backward transfer" in head
    assert start == "| 0 on digits | start: 0.800 |  |  | 0.600 | 0.200 | +0.400 |"
    assert away == "| 5 on digits | -0.100 | -0.020 | -0.080 | 0.900 | 0.500 | +0.400 |"
    assert back == "| then 5 on letters | -0.050 |  |  | 0.800 |  |  |"


def test_two_seeds_have_an_interval_of_their_differences():
    """-0.10 and -0.12: mean -0.11, s = 0.01414, s / sqrt 2 = 0.01, times 12.706."""
    row = markdown({**RECORD, "curves": [SEED, OTHER]}, "letters", "digits")[3]
    assert row.startswith("| 5 on digits | -0.110 ± 0.127 | -0.020 ± 0.000 | -0.090 ± 0.127 | 0.900 | 0.500 |")


def test_what_is_missing_is_said():
    lines = tables({"a": RECORD}, 2, "letters", "digits", "python -m x")
    assert lines[0] == "**A learner**" and "1 of the 2 experiments are recorded so far. `python -m x`" in lines[-2]
    assert not any("note" in line for line in tables({"a": RECORD}, 1, "letters", "digits", "python -m x"))


@pytest.mark.filterwarnings("default")
def test_the_figure_is_drawn_from_the_records(tmp_path: Path, monkeypatch):
    """The steps back are drawn after those away: 0 and 5, then 5 and 10."""
    kept = []
    monkeypatch.setattr(draw_figures.plt, "close", kept.append)
    for name in RECIPES:
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**RECORD, "curves": [SEED, OTHER]}), encoding="utf-8")
    draw_figures.continual(tmp_path / "x.svg", tmp_path)
    assert (tmp_path / "x.svg").read_text("utf-8").count("<svg") == 1
    monkeypatch.undo()
    line = kept[0].axes[0].lines[0]
    assert line.get_xdata().tolist() == [0, 5, 5, 10] and line.get_ydata().tolist() == [0.8, 0.7, 0.7, 0.75]


def letters_at(curve, steps):
    return next(p["letters"]["mean"] for p in curve if p["steps"] == steps)


def test_what_the_book_says_of_letters_digits_letters():
    """Of every training: it forgets, has hardly gained before, and wins most back; what is carried over."""
    found = {name: recorded()[f"continual/glyphs-{name}"]["curves"] for name in ("meta-networks", "prototypical")}
    for name, seeds in found.items():
        for seed in seeds:
            away, back, stay, fresh = (
                {point["steps"]: {k: v["mean"] for k, v in point.items() if k in TESTS} for point in seed[curve]}
                for curve in ("away", "back", "stay", "fresh")
            )
            start = away[0]["letters"]
            assert away[60]["letters"] < min(away[30]["letters"], start - 0.05)
            assert min(point["letters"] for point in stay.values()) > away[60]["letters"]
            assert back[30]["letters"] - away[60]["letters"] > (start - away[60]["letters"]) / 2
            gains = [away[steps]["letters"] - start for steps in (3, 10, 30, 60)]
            assert max(gains) < (0 if name == "meta-networks" else 0.01)
            if name == "meta-networks":
                assert all(away[steps]["digits"] > fresh[steps]["digits"] for steps in fresh)
    beside = {
        steps: [letters_at(seed["away"], steps) - letters_at(seed["stay"], steps) for seed in found["prototypical"]]
        for steps in (3, 30)
    }
    assert beside[3] == pytest.approx([0.01] * 3, abs=0.003) and max(beside[30]) < 0
    early = [letters_at(seed["away"], 3) - letters_at(seed["away"], 0) for seed in found["prototypical"]]
    assert 0 < statistics.mean(early) < half(early)
    last = [seed["fresh"][-1]["digits"]["mean"] for seed in found["meta-networks"]]
    assert sorted(last)[0] < 0.25 < 0.6 < sorted(last)[1]
    ends = {n: [[s[c][-1]["digits"]["mean"] for s in v] for c in ("away", "fresh")] for n, v in found.items()}
    carried = {name: sum(after) - sum(fresh) for name, (after, fresh) in ends.items()}
    assert carried["meta-networks"] > 2 * carried["prototypical"] > 0
