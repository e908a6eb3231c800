"""The directive {continual-table}: how accuracy changes while a learner is trained on other tasks, and back.

```{continual-table} continual
:first: letters
:second: digits
```

The argument is a folder of recorded results with ``curves`` (``metabook.continual``), the options are the names of the
tests on the first and the second tasks. A table for each learner: a row is a number of steps, a cell a mean over seeds
with a 95 % interval over them.

The content stands below the tables, once all recipes of the folder are recorded; until then a note says what is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comparison_table import Records, difference, spread
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from results_table import cell, folder, read
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from metabook.recipes import RECIPES


def values(record: dict[str, Any], curve: str, row: int, test: str) -> list[float]:
    """The mean score of one point of a curve for each seed."""
    return [curves[curve][row][test]["mean"] for curves in record["curves"]]


def markdown(record: dict[str, Any], first: str, second: str) -> list[str]:
    """The table of one record: each step away, then each step back."""
    heads = [
        f"{first}: backward transfer",
        f"{first}: had it stayed",
        f"{first}: away less stayed",
        second,
        f"{second}: from first weights",
        f"{second}: forward transfer",
    ]
    lines = [f"| steps | {' | '.join(heads)} |", f"|:--|{'--:|' * len(heads)}"]
    start = values(record, "away", 0, first)
    for row, point in enumerate(record["curves"][0]["away"]):
        away, stay = values(record, "away", row, first), values(record, "stay", row, first)
        other, fresh = values(record, "away", row, second), values(record, "fresh", row, second)
        cells = [
            difference(away, start) if row else f"start: {spread(start)}",
            difference(stay, start) if row else "",
            difference(away, stay) if row else "",
            spread(other),
            spread(fresh),
            difference(other, fresh),
        ]
        lines.append(f"| {point['steps']} on {second} | {' | '.join(map(cell, cells))} |")
    for row, point in enumerate(record["curves"][0]["back"]):
        if row:
            cells = [difference(values(record, "back", row, first), start), "", ""]
            cells += [spread(values(record, "back", row, second)), "", ""]
            lines.append(f"| then {point['steps']} on {first} | {' | '.join(map(cell, cells))} |")
    return lines


def tables(records: Records, recipes: int, first: str, second: str, command: str) -> list[str]:
    """All tables, and a note on what is not recorded."""
    lines: list[str] = []
    for record in records.values():
        lines += [f"**{record['title']}**", "", *markdown(record, first, second), ""]
    if len(records) < recipes:
        said = f"{len(records)} of the {recipes} experiments are recorded so far. `{command}` makes the others."
        lines += ["```{note}", said, "```"]
    return lines


class ContinualTable(SphinxDirective):
    """See the module's text."""

    required_arguments = 1
    has_content = True
    option_spec = dict.fromkeys(("first", "second"), directives.unchanged_required)

    def run(self) -> list[nodes.Node]:
        """The tables."""
        name = self.arguments[0]
        recipes = [known.rpartition("/")[2] for known in RECIPES if known.startswith(f"{name}/")]
        if not recipes or self.options.keys() != self.option_spec.keys():
            raise self.error(f"continual-table: {name} given; needed are recipes of that name, first and second")
        paths: list[Path] = sorted((folder() / name).glob("*.json"))
        for path in paths:
            self.env.note_dependency(str(path))
        recorded = {path.stem: read(path) for path in paths}
        records = {known: recorded[known] for known in recipes if "curves" in recorded.get(known, {})}
        lines = tables(records, len(recipes), **self.options, command="python -m metabook.continual")
        holder = nodes.container(classes=["results-table", "comparison-table"])
        self.state.nested_parse(StringList(lines, source="results"), self.content_offset, holder)
        if len(records) == len(recipes):
            self.state.nested_parse(self.content, self.content_offset, holder)
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("continual-table", ContinualTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
