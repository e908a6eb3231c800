"""The directive {cost-comparison}: every system at one place, its scores and its cost as a table and as a picture.

```{cost-comparison} glyphs
```

The argument is a place of ``metabook.recipes.everything``. A row is a system; scores are the mean over the seeds with
the lowest and the highest of them; costs are those of ``metabook/costs/everything.json``, at the tasks of the first
score. What is not recorded yet is left empty, and a note says how many are. The picture, and the content of the
directive, which says what both show, stand there once everything is recorded.
"""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any, NamedTuple

from comparison_table import means, spread
from docutils import nodes
from docutils.statemachine import StringList
from results_table import cell, folder, read
from scatter import Point, draw, svg
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from metabook.recipes import RECIPES
from metabook.recipes.everything import LEFT_OUT, ONCE, PLACES, ROWS
from metabook.registry import SYSTEMS

HEADS = ("parameters", "adaptation, ms", "prediction, ms", "memory, MB")


class Line(NamedTuple):
    """One system: its recorded result, or None, and its costs, or None."""

    system: str
    recipe: str
    record: dict[str, Any] | None
    cost: dict[str, Any] | None


def gather(place: str, results: Path, costs: Path) -> list[Line]:
    """The lines of a place in the registry's order. results, costs: folders."""
    path = costs / "everything.json"
    known = json.loads(path.read_text(encoding="utf-8"))["costs"] if path.is_file() else {}
    lines = []
    for system, name in ROWS[place].items():
        file = results / f"{name}.json"
        record, cost = read(file) if file.is_file() else None, known.get(name)
        if record is not None and (record["scores"].keys() != scores(place).keys() or seeds(record) != seeds(name)):
            record = None  # made with other settings, or not by all seeds
        if cost is not None and not cost["tests"].keys() >= scores(place).keys():
            cost = None
        lines.append(Line(system, name, record, cost))
    return lines


def seeds(of: dict[str, Any] | str) -> list[int]:
    """The seeds of a record, or those that the recipe of a name asks for."""
    return list(RECIPES[of].seeds) if isinstance(of, str) else [of["seed"], *(r["seed"] for r in of["repeats"])]


def scores(place: str) -> dict[str, None]:
    """The names of the scores there."""
    return dict.fromkeys(test.label for test in RECIPES[next(iter(ROWS[place].values()))].tests)


def whole(lines: list[Line]) -> bool:
    """Whether nothing is missing."""
    return all(line.record is not None and line.cost is not None for line in lines)


def markdown(place: str, lines: list[Line]) -> list[str]:
    """The table, and what is missing from it."""
    labels = list(scores(place))
    rows = [f"| system | {' | '.join(map(cell, (*labels, *HEADS)))} |", f"|:--|{'--:|' * (len(labels) + len(HEADS))}"]
    for line in lines:
        if line.record is None and line.cost is None:
            continue
        found = [spread(means(line.record, s)) for s in labels] if line.record else [""] * len(labels)
        rows.append(f"| {' | '.join(map(cell, (line.system, *found, *_costs(line, labels[0]))))} |")
    rows = rows if len(rows) > 2 else []
    return rows if whole(lines) else [*rows, "", *missing(lines)]


def _costs(line: Line, label: str) -> list[str]:
    if line.cost is None:
        return [""] * len(HEADS)
    test = line.cost["tests"][label]
    times = [f"{test[key]:.2g}" if test[key] < 10 else f"{test[key]:.0f}" for key in ("adapt_ms", "predict_ms")]
    return [f"{line.cost['parameters']:,}", *times, f"{test['peak_bytes'] / 1e6:.2f}"]


def missing(lines: list[Line]) -> list[str]:
    """A note on what is not recorded yet."""
    trained = sum(line.record is not None for line in lines)
    measured = sum(line.cost is not None for line in lines)
    said = f"This table is not whole: {trained} of its {len(lines)} systems are recorded, {measured} have their cost."
    how = "`python -m metabook.record comparison everything` and `python -m metabook.cost` make the others."
    return ["```{note}", f"{said} {how} The picture will stand here then, and what it shows.", "```"]


def exceptions(place: str) -> list[str]:
    """The systems of this kind of target that have no row, and those that are trained once, with the reasons."""
    names = [name for name in LEFT_OUT if issubclass(PLACES[place], SYSTEMS[name].kinds)]
    said = [f"Without a row: `{name}`, since {LEFT_OUT[name]}." for name in names]
    here = {name.partition("-")[2]: why for name, why in ONCE.items() if name.partition("-")[0] == place}
    for why in dict.fromkeys(here.values()):
        which = ", ".join(f"`{name}`" for name in here if here[name] == why)
        said.append(f"One training in place of three: {which}; {why}.")
    return [line for text in said for line in ("", text)]


def picture(place: str, lines: list[Line]) -> str:
    """The picture as HTML, with a text that says the ends of both axes. lines: without a gap."""
    label, errors = next(iter(scores(place))), place == "sinusoids"
    points = [
        Point(
            line.system, SYSTEMS[line.system].chapter, line.cost["tests"][label]["adapt_ms"], means(line.record, label)
        )
        for line in lines
        if line.record is not None and line.cost is not None
    ]
    x_label = "adaptation to one task, ms of one processor core"
    drawn = svg(draw(points, x_label=x_label, y_label=label, log_y=errors))
    best = (min if errors else max)(points, key=lambda p: p.y)
    fast, slow = min(points, key=lambda p: p.x), max(points, key=lambda p: p.x)
    alt = (
        f"Scatter plot of {len(points)} systems, {label} against adaptation time. "
        f"Best: {best.name}, {best.y:.3f} after {best.x:.2g} ms. "
        f"Fastest: {fast.name}, {fast.x:.2g} ms. Slowest: {slow.name}, {slow.x:.2g} ms."
    )
    source = base64.b64encode(drawn.encode()).decode()
    return f'<figure><img class="figure" alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{source}"></figure>'


class CostComparison(SphinxDirective):
    """See the module's text."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table, then the picture and the content, or a note."""
        place = self.arguments[0]
        if place not in ROWS:
            raise self.error(f"cost-comparison: {place} given; known are {', '.join(ROWS)}")
        results, costs = folder(), folder().parent / "costs"
        lines = gather(place, results, costs)
        for path in (costs / "everything.json", *(results / f"{line.recipe}.json" for line in lines)):
            if path.is_file():
                self.env.note_dependency(str(path))
        holder = nodes.container(classes=["results-table", "comparison-table"])
        text = [*markdown(place, lines), *exceptions(place)]
        self.state.nested_parse(StringList(text, source="results"), self.content_offset, holder)
        if whole(lines):
            holder += nodes.raw("", picture(place, lines), format="html")
            self.state.nested_parse(self.content, self.content_offset, holder)
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("cost-comparison", CostComparison)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
