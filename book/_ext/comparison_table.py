"""The directive {comparison-table}: the systems of a chapter on the same tasks, network, budget and seeds.

```{comparison-table} comparison
:place: glyphs           of a wide table the columns of one place alone, without its name
:score: *1-shot*         and of them those whose score fits a pattern
```

The argument is the folder of recorded results. A row is a system, a column a score; a cell is the mean over the seeds
with the lowest and the highest of them. What is not recorded yet is left empty. Below stands a table of the published
numbers that the recipes name, with sources.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
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


def only(records: dict[str, dict[str, Any]], place: str | None, score: str = "*") -> dict[str, dict[str, Any]]:
    """The records of one place (None: of all) with the scores that fit a pattern; without such a score, no record."""
    kept = {}
    for name, record in records.items():
        scores = {label: value for label, value in record["scores"].items() if fnmatchcase(label, score)}
        if scores and place in (None, name.partition("-")[0]):
            kept[name] = {**record, "scores": scores}
    return kept


def markdown(records: dict[str, dict[str, Any]], *, named: bool = True) -> list[str]:
    """The table of records named PLACE-SYSTEM, in their order; a column's head begins with its place if ``named``."""
    places: dict[str, list[str]] = {}
    systems: dict[str, dict[str, dict[str, Any]]] = {}
    for name, record in records.items():
        place, _, system = name.partition("-")
        known = places.setdefault(place, [])
        known += [score for score in record["scores"] if score not in known]
        systems.setdefault(system, {})[place] = record
    heads = [f"{place}: {score}" if named else score for place, scores in places.items() for score in scores]
    lines = [f"| system | {' | '.join(map(cell, heads))} |", f"|:--|{'--:|' * len(heads)}"]
    for system, row in systems.items():
        values = [
            spread(means(row[p], s)) if p in row and s in row[p]["scores"] else ""
            for p, scores in places.items()
            for s in scores
        ]
        lines.append(f"| {system} | {' | '.join(map(cell, values))} |")
    return lines


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
    option_spec = dict.fromkeys(("place", "score"), directives.unchanged_required)

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
        place = self.options.get("place")
        recipes = {name: r for name, r in recipes.items() if place in (None, name.partition("-")[0])}
        ordered = only(
            {name: recorded[name] for name in recipes if name in recorded}, place, self.options.get("score", "*")
        )
        if not ordered:
            raise self.error(f"comparison-table: nothing recorded under {self.arguments[0]} fits {self.options}")
        holder = nodes.container(classes=["results-table", "comparison-table"])
        lines = markdown(ordered, named=place is None) + beside(recipes)
        self.state.nested_parse(StringList(lines, source="results"), self.content_offset, holder)
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("comparison-table", ComparisonTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
