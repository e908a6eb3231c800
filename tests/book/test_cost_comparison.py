"""The page of every system: what is missing is said, half a table is never shown as a whole one, names can be read."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from statistics import mean

import cost_comparison
import pytest
from comparison_table import means
from cost_comparison import Line, exceptions, gather, markdown, picture, scores, whole
from docutils.statemachine import StringList
from results_table import folder
from scatter import CHAPTERS, RADIUS, Point, draw, label, svg

from metabook.recipes import RECIPES
from metabook.recipes.everything import LEFT_OUT, ONCE, PLACES, ROWS, UNTRAINED
from metabook.registry import SYSTEMS


def write(name: str, results: Path, mean: float, **changes: object) -> None:
    """A record of every seed, each 0.1 above the one before."""
    seeds = RECIPES[name].seeds
    runs = [{"seed": s, "scores": {t.label: {"mean": mean + 0.1 * s} for t in RECIPES[name].tests}} for s in seeds]
    record = dict.fromkeys(("title", "system", "tasks", "command", "device", "torch"), "")
    path = results / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**record, **runs[0], "repeats": runs[1:], **changes}), encoding="utf-8")


def fill(place: str, folder: Path) -> tuple[Path, Path]:
    """Results and costs of every system of a place: the n-th has a score of n / 100 and n ms."""
    results, costs, found = folder / "results", folder / "costs", {}
    for n, name in enumerate(ROWS[place].values(), 1):
        write(name, results, n / 100)
        test = {"adapt_ms": float(n), "predict_ms": 0.25, "peak_bytes": 1_500_000}
        found[name] = {"parameters": 1000 * n, "tests": dict.fromkeys(scores(place), test)}
    costs.mkdir()
    (costs / "everything.json").write_text(json.dumps({"costs": found}), encoding="utf-8")
    return results, costs


@pytest.mark.parametrize("place", PLACES)
def test_a_whole_table_has_every_system_and_no_note(place: str, tmp_path: Path) -> None:
    """The second system: seeds 0.02, 0.12 and 0.22, 2000 numbers, 2 ms, 1.5 MB."""
    lines = gather(place, *fill(place, tmp_path))
    table = markdown(place, lines)
    assert whole(lines) and len(table) == 2 + len(ROWS[place])
    heads = ["system", *scores(place), "parameters", "adaptation, ms", "prediction, ms", "memory, MB"]
    assert table[0] == f"| {' | '.join(heads)} |"
    score = "0.120 (0.020 to 0.220)"
    assert table[3] == f"| maml-first-order | {score} | {score} | 2,000 | 2 | 0.25 | 1.50 |"


@pytest.mark.parametrize("part", ["result", "seed", "score", "cost", "every cost", "everything"])
def test_what_is_missing_is_said(part: str, tmp_path: Path) -> None:
    results, costs = fill("glyphs", tmp_path)
    name, n, cost = ROWS["glyphs"]["maml"], len(ROWS["glyphs"]), costs / "everything.json"
    known = json.loads(cost.read_text(encoding="utf-8"))
    if part == "result":
        (results / f"{name}.json").unlink()
    elif part == "seed":
        write(name, results, 0.5, repeats=[])
    elif part == "score":
        write(name, results, 0.5, scores={"another": {"mean": 0.5}})
    elif part == "cost":
        del known["costs"][name]
        cost.write_text(json.dumps(known), encoding="utf-8")
    else:
        cost.unlink()
    if part == "everything":
        results = tmp_path / "nowhere"
    lines = gather("glyphs", results, costs)
    assert not whole(lines)
    text = "\n".join(markdown("glyphs", lines))
    recorded = {"cost": n, "every cost": n, "everything": 0}.get(part, n - 1)
    measured = {"cost": n - 1, "every cost": 0, "everything": 0}.get(part, n)
    assert f"not whole: {recorded} of its {n} systems are recorded, {measured} have their cost" in text
    assert ("| system |" in text) == (part != "everything")
    if part in ("result", "seed", "score"):
        assert "| maml |  |  | 1,000 | 1 | 0.25 | 1.50 |" in text
    if part == "cost":
        assert "| maml | 0.110 (0.010 to 0.210) | 0.110 (0.010 to 0.210) |  |  |  |  |" in text


class Page:
    """A directive's surroundings: what it parses is kept, and it depends on nothing."""

    reporter = None

    def __init__(self) -> None:
        self.text: list[str] = []

    def nested_parse(self, lines: StringList, offset: int, node: object) -> None:
        self.text += list(lines)

    def note_dependency(self, path: str) -> None:
        assert Path(path).is_file()


def run(place: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What the directive has parsed, and the HTML beside it."""
    monkeypatch.setattr(cost_comparison, "folder", lambda: results)
    page = Page()
    monkeypatch.setattr(cost_comparison.CostComparison, "env", page)
    body = StringList(["a claim"], source="page")
    directive = cost_comparison.CostComparison("cost-comparison", [place], {}, body, 1, 0, "", page, page)
    (holder,) = directive.run()
    return "\n".join(page.text), "".join(child.astext() for child in holder.children)


def test_picture_and_text_wait_until_everything_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = fill("sinusoids", tmp_path)
    text, html = run("sinusoids", results, monkeypatch)
    assert "a claim" in text and "not whole" not in text and html.startswith("<figure><img")
    (results / f"{ROWS['sinusoids']['cnp']}.json").unlink()
    text, html = run("sinusoids", results, monkeypatch)
    assert "a claim" not in text and "not whole" in text and html == ""


def test_the_picture_says_in_words_what_is_at_the_ends(tmp_path: Path) -> None:
    """Of errors the lowest is best, of accuracies the highest; time grows from row to row."""
    for place in PLACES:
        (tmp_path / place).mkdir()
        lines = gather(place, *fill(place, tmp_path / place))
        alt = re.search('alt="([^"]*)"', picture(place, lines))
        assert alt is not None
        names = list(ROWS[place])
        best = max if place == "glyphs" else min
        values = [sum(0.1 * s for s in RECIPES[r].seeds) / len(RECIPES[r].seeds) for r in ROWS[place].values()]
        values = [v + n / 100 for n, v in enumerate(values, 1)]
        assert f"Best: {names[values.index(best(values))]}, " in alt[1]
        assert f"Fastest: {names[0]}, 1 ms. Slowest: {names[-1]}, {len(names)} ms." in alt[1]
        assert alt[1].startswith(f"Scatter plot of {len(names)} systems, {next(iter(scores(place)))} against")


def test_exceptions_are_said_with_their_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEFT_OUT, "snail", "it is slow")
    monkeypatch.setitem(ONCE, "glyphs-leo", "it is late")
    assert "Without a row: `snail`, since it is slow." in exceptions("glyphs")
    assert "One training in place of three: `leo`; it is late." in exceptions("glyphs")
    assert not [line for line in exceptions("sinusoids") if "snail" in line or "leo" in line]


def test_every_chapter_has_a_colour_and_a_shape() -> None:
    assert {system.chapter for system in SYSTEMS.values()} <= CHAPTERS.keys()
    assert len({(colour, marker) for colour, marker, _ in CHAPTERS.values()}) == len(CHAPTERS)


def crowd(n: int = 28) -> list[Point]:
    """As many systems as there are, half of them close together."""
    dice, chapters = random.Random(0), list(CHAPTERS)
    return [
        Point(f"system-number-{i}", chapters[i % 5], 10 ** dice.uniform(0, 1 + 2 * (i % 2)), [dice.uniform(0.7, 0.95)])
        for i in range(n)
    ]


def test_names_touch_neither_each_other_nor_a_point() -> None:
    points = crowd()
    figure = draw(points, x_label="ms", y_label="accuracy", log_y=False)
    (axis,) = figure.axes
    before = len(axis.texts)
    names = label(axis, points)
    assert before == len(points) and len(names) == len(points)
    discs = [axis.transData.transform((p.x, p.y)) for p in points]
    for i, box in enumerate(names):
        assert axis.bbox.x0 <= box.x0 and box.x1 <= axis.bbox.x1
        assert not any(box.overlaps(other) for other in names[:i])
        assert not any(
            box.x0 < x + RADIUS and x - RADIUS < box.x1 and box.y0 < y + RADIUS and y - RADIUS < box.y1
            for x, y in discs
        )


def test_the_picture_is_the_same_on_every_run_and_has_every_point() -> None:
    points = crowd(9)
    first, second = (svg(draw(points, x_label="ms", y_label="mse", log_y=True)) for _ in range(2))
    assert first == second
    for p in points:
        assert f'id="point-{p.name}"' in first and f'id="name-{p.name}"' in first


@pytest.mark.parametrize("points", [[], [Point("a", "metric", 0.0, [0.5])], [Point("a", "metric", 1.0, [0.0])]])
def test_what_a_logarithmic_axis_cannot_show_is_an_error(points: list[Point]) -> None:
    with pytest.raises(ValueError, match=f"^points: {len(points)} given"):
        draw(points, x_label="ms", y_label="mse", log_y=True)


def all_lines(place: str) -> list[Line]:
    """The lines of the book's table, when none is missing."""
    lines = gather(place, folder(), folder().parent / "costs")
    if not whole(lines):
        pytest.skip("not everything is recorded")
    return lines


def shown(place: str) -> tuple[dict[str, list[list[float]]], dict[str, dict[str, float]], dict[str, int]]:
    """system -> of each score the seeds' values, then system -> costs at the first score, then numbers trained."""
    lines = all_lines(place)
    found = {line.system: (line.record, line.cost) for line in lines if line.record and line.cost}
    labels = list(scores(place))
    return (
        {n: [means(record, label) for label in labels] for n, (record, _) in found.items()},
        {n: cost["tests"][labels[0]] for n, (_, cost) in found.items()},
        {n: cost["parameters"] for n, (_, cost) in found.items()},
    )


def test_what_the_book_says_of_every_classifier() -> None:
    """Accuracies: six within three points; relation and SNAIL lose with five examples; five behind the pixels."""
    values, cost, size = shown("glyphs")
    one, five = ({n: mean(v[i]) for n, v in values.items()} for i in (0, 1))
    compare, step = (
        ("relation", "matching", "matching-full-context", "prototypical"),
        ("maml-plus-plus", "optimization-engine"),
    )
    best = sorted(one, key=lambda n: -one[n])[:6]
    assert set(best) == {*compare, *step} and one[best[0]] - one[best[-1]] < 0.03
    assert max(min(one[n] for n in f) for f in (compare, step)) < min(max(one[n] for n in f) for f in (compare, step))
    assert max(cost[n]["adapt_ms"] for n in compare) < min(cost[n]["adapt_ms"] for n in step) / 2
    both = {n: c["adapt_ms"] + c["predict_ms"] for n, c in cost.items()}
    assert max(both[n] for n in ("matching", "prototypical")) < 0.6 * min(both[n] for n in step)
    assert 0.75 < both["relation"] / both["maml-plus-plus"] < 1.33
    assert size["maml-plus-plus"] - size["maml"] == 36 and 0.09 < one["maml-plus-plus"] - one["maml"] < 0.12
    assert max(size, key=lambda n: size[n]) == "metanetworks" and one["metanetworks"] < one["maml"]
    lose = {n for n in one if five[n] < one[n] - 0.1}
    assert lose == {"relation", "snail"}
    ahead = [n for n in one if one[n] > one["nearest-pixels"] and n not in lose]
    assert min(five[n] - one[n] for n in ahead) > 0
    behind = {n for n, v in values.items() if max(v[0]) < min(values["nearest-pixels"][0])}
    assert behind == {"reptile", "maml-first-order", "cavia", "joint-fine-tuned", "joint"}
    assert max(abs(v - 0.2) for v in values["joint"][0]) < 0.01
    low, other, high = sorted(values["leo"][0])
    assert 0.28 < other - low < high - low < 0.34


def test_what_the_book_says_of_every_regressor() -> None:
    """Errors: two that look at all points lowest; two that step ahead of the others; a Gaussian process at ten."""
    values, cost, _ = shown("sinusoids")
    five, ten = ({n: mean(v[i]) for n, v in values.items()} for i in (0, 1))
    assert sorted(five, key=lambda n: five[n])[:2] == ["transformer-np", "metanetworks"]
    _, middle, high = sorted(values["hypernetwork"][0])
    assert middle < 1.4 * five["metanetworks"] and high > 3 * middle
    stepping = [n for n in five if SYSTEMS[n].chapter == "optimization" or n in ("cavia", "modulated-maml")]
    best = ("maml-plus-plus", "modulated-maml")
    assert max(max(values[n][0]) for n in best) < min(min(values[n][0]) for n in stepping if n not in best)
    assert max(five[n] for n in best) < five["maml"] / 3
    for gp in ("exact-gp", "fitted-gp"):
        assert ten[gp] < ten["maml"] and five[gp] > 1.5 * five["maml"]
    read = ("cnp", "attentive-cnp", "conv-cnp", "neural-process")
    assert max(cost[n]["adapt_ms"] for n in read) < min(cost[n]["adapt_ms"] for n in stepping if n not in UNTRAINED)
    times = {n: c["adapt_ms"] / cost["maml"]["adapt_ms"] for n, c in cost.items()}
    assert times["transformer-np"] < 1.5 < min(times["hypernetwork"], times["metanetworks"])
    both = {n: c["adapt_ms"] + c["predict_ms"] for n, c in cost.items()}
    assert [n for n in read if both[n] < both["maml"]] == ["cnp"]


def test_what_the_book_says_of_the_length_of_trainings() -> None:
    """Minutes: most below two, the slowest about twenty, a hundred times the fastest of the same number of steps."""
    minutes = {
        place: [line.record["minutes"] for line in all_lines(place) if line.record and line.system not in UNTRAINED]
        for place in PLACES
    }
    every = sorted(minutes["glyphs"] + minutes["sinusoids"])
    assert every[int(0.8 * len(every))] < 2 and 15 < every[-1] < 25
    assert max(minutes["sinusoids"]) > 100 * min(minutes["sinusoids"])
