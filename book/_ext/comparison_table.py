"""The directive {comparison-table}: the systems of a chapter on the same tasks, network, budget and seeds.

```{comparison-table} comparison
:columns: accuracy; coverage   only these scores, in this order; a row that has none of them is left out
:gap-to: exact                 a column more: how far the first score is below that of this row, on the same tasks
:one-place:                    records are named SYSTEM, not PLACE-SYSTEM
```

The argument is the folder of recorded results. A row is a system, a column a score; a cell is the mean over the seeds
with the lowest and the highest of them. What is not recorded yet is left empty. Below stands a table of the published
numbers that the recipes name, with sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from results_table import cell, folder, read
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from metabook.recipe import Recipe
from metabook.recipes import RECIPES


def means(record: dict[str, Any], score: str) -> list[float]:
    """The mean of ``score`` for each seed of a record."""
    return [part["scores"][score]["mean"] for part in (record, *record["repeats"])]


def spread(values: list[float]) -> str:
    """Mean over seeds, and the range."""
    decimals = 3 if max(map(abs, values)) < 100 else 0
    mean, low, high = (f"{v:.{decimals}f}" for v in (sum(values) / len(values), min(values), max(values)))
    return mean if len(values) == 1 or low == high else f"{mean} ({low} to {high})"


def gaps(record: dict[str, Any], other: dict[str, Any], score: str) -> list[float]:
    """How far ``record`` is below ``other``, for each seed that both have: both saw the same test tasks."""
    ours, theirs = (
        {part["seed"]: part["scores"][score]["mean"] for part in (r, *r["repeats"]) if score in part["scores"]}
        for r in (record, other)
    )
    return [theirs[seed] - mean for seed, mean in ours.items() if seed in theirs]


def markdown(
    records: dict[str, dict[str, Any]], *, columns: Sequence[str] = (), gap_to: str = "", one_place: bool = False
) -> list[str]:
    """The table of records named PLACE-SYSTEM (or SYSTEM), in their order, and what each column means.

    Raises ValueError for a column or a row to compare with that no record has.
    """
    places: dict[str, list[str]] = {}
    systems: dict[str, dict[str, dict[str, Any]]] = {}
    for name, record in records.items():
        place, _, system = ("", "", name) if one_place else name.partition("-")
        known = places.setdefault(place, [])
        known += [score for score in record["scores"] if score not in known]
        systems.setdefault(system, {})[place] = record
    every = {score for scores in places.values() for score in scores}
    if missing := [*(set(columns) - every), *({gap_to} - {"", *systems})]:
        raise ValueError(f"comparison-table: {', '.join(missing)} is not recorded")
    shown = {place: [s for s in columns or scores if s in scores] for place, scores in places.items()}
    heads, lines = [], []
    for place, scores in shown.items():
        names = [*scores[:1], *([f"gap to {gap_to}"] if gap_to else []), *scores[1:]]
        heads += [f"{place}: {name}" if place else name for name in names]
    for system, row in systems.items():
        values: list[str] = []
        for place, scores in shown.items():
            of = row.get(place, {"scores": {}, "seed": None, "repeats": []})
            cells = [spread(means(of, score)) if score in of["scores"] else "" for score in scores]
            if gap_to:
                gap = gaps(of, systems[gap_to][place], scores[0])
                cells.insert(1, spread(gap) if gap and system != gap_to else "")
            values += cells
        if any(values):
            lines.append(f"| {system} | {' | '.join(map(cell, values))} |")
    return [f"| system | {' | '.join(map(cell, heads))} |", f"|:--|{'--:|' * len(heads)}", *lines]


def beside(recipes: dict[str, Recipe]) -> list[str]:
    """The published numbers of recipes named PLACE-SYSTEM as a table, or nothing if there are none."""
    lines = [
        f"| {' | '.join(map(cell, (name.partition('-')[0], *row)))} |"
        for name, recipe in recipes.items()
        for row in recipe.published
    ]
    head = ["", "| tasks | system | published | source | how its set-up differs |", "|:--|:--|:--|:--|:--|"]
    return head + lines if lines else []


class ComparisonTable(SphinxDirective):
    """See the module's text."""

    required_arguments = 1
    option_spec = {
        "columns": lambda text: [name.strip() for name in text.split(";")],
        "gap-to": directives.unchanged_required,
        "one-place": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """The table."""
        paths: list[Path] = sorted((folder() / self.arguments[0]).glob("*.json"))
        if not paths:
            raise self.error(f"comparison-table: nothing is recorded under {self.arguments[0]}")
        for path in paths:
            self.env.note_dependency(str(path))
        recorded = {path.stem: read(path) for path in paths}
        recipes = {
            name.rpartition("/")[2]: r for name, r in RECIPES.items() if name.startswith(f"{self.arguments[0]}/")
        }
        ordered = {name: recorded[name] for name in recipes if name in recorded}
        holder = nodes.container(classes=["results-table", "comparison-table"])
        try:
            lines = markdown(
                ordered,
                columns=self.options.get("columns", ()),
                gap_to=self.options.get("gap-to", ""),
                one_place="one-place" in self.options,
            )
        except ValueError as error:
            raise self.error(str(error)) from error
        lines += beside(recipes)
        self.state.nested_parse(StringList(lines, source="results"), self.content_offset, holder)
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("comparison-table", ComparisonTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
