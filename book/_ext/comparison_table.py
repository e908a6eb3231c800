"""The directive {comparison-table}: the systems of a chapter on the same tasks, network, budget and seeds.

```{comparison-table} comparison
```

The argument is the folder of recorded results. A row is a system, a column a score; a cell is the mean over the seeds
with the lowest and the highest of them. What is not recorded yet is left empty. Below stands a table of the published
numbers that the recipes name, with sources.

``:columns: mse; coverage`` shows these scores alone, and no published numbers; ``:place: glyphs`` this place alone.
Other options put another table between the two, of every system against one of them: ``:minus: maml`` for differences,
``:below: maml`` for how much less than that, ``:over: maml`` for ratios. The n-th training of both has the same seed
and the same test tasks.

The content says what the table shows. It stands below it, once every recipe of the table is recorded; until then a note
says how many are, and how to make the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from results_table import cell, folder, read
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from metabook.recipe import Recipe
from metabook.recipes import RECIPES

Records = dict[str, dict[str, Any]]

#: 97.5 % quantile of Student's t for the mean of so many numbers
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


def means(record: dict[str, Any], score: str) -> list[float]:
    """The mean of ``score`` for each seed of a record."""
    return [part["scores"][score]["mean"] for part in (record, *record["repeats"])]


def spread(values: list[float]) -> str:
    """Mean over seeds, and the range."""
    decimals = 3 if max(map(abs, values)) < 100 else 0
    mean, low, high = (f"{v:.{decimals}f}" for v in (sum(values) / len(values), min(values), max(values)))
    return mean if len(values) == 1 or low == high else f"{mean} ({low} to {high})"


def half(values: list[float]) -> float:
    """Half the length of the 95 % interval of the mean of at least two values."""
    return STUDENT[len(values)] * stdev(values) / math.sqrt(len(values))


def difference(values: list[float], others: list[float]) -> str:
    """Mean over seeds of value minus other, with its 95 % interval if there is more than one seed."""
    by_seed = [a - b for a, b in zip(values, others, strict=True)]
    if len(by_seed) == 1:
        return f"{by_seed[0]:+.3f}"
    return f"{mean(by_seed):+.3f} ± {half(by_seed):.3f}"


def ratio(values: list[float], others: list[float]) -> str:
    """Mean over seeds of the values over that of the others."""
    return f"{sum(values) / sum(others):.2f}"


def below(values: list[float], others: list[float]) -> str:
    """Mean over seeds of other minus value, as ``difference``."""
    return difference(others, values)


AGAINST = {
    "below": (below, "How far below {}, seed by seed, with a 95 % interval over seeds if there are several."),
    "minus": (difference, "The same less {}, seed by seed, with a 95 % interval over seeds if there are several."),
    "over": (ratio, "The same as a part of that of {}."),
}


def against(records: Records, base: str, compare: Callable[[list[float], list[float]], str]) -> list[str]:
    """The table of every system against the system ``base``, where both have the score."""

    def value(place: str, system: str, score: str) -> str:
        other = records.get(f"{place}-{base}", {"scores": {}})
        both = score in other["scores"]
        return compare(means(records[f"{place}-{system}"], score), means(other, score)) if both else ""

    others = {name: record for name, record in records.items() if name.partition("-")[2] != base}
    return markdown(others, value)


def chosen(records: Records, columns: Sequence[str]) -> Records:
    """The records with these scores alone, and without those that have none of them. columns: names, or patterns.

    Raises ValueError for a score that no record has.
    """
    every = list(dict.fromkeys(score for record in records.values() for score in record["scores"]))
    found = [[score for score in every if fnmatchcase(score, column)] for column in columns]
    if not all(found):
        raise ValueError(f"columns: {columns[found.index([])]} given; no record has that score")
    columns = [score for scores in found for score in scores]
    parts = {name: {s: r["scores"][s] for s in columns if s in r["scores"]} for name, r in records.items()}
    return {name: {**records[name], "scores": scores} for name, scores in parts.items() if scores}


def markdown(records: Records, value: Callable[[str, str, str], str] | None = None) -> list[str]:
    """The table of records named PLACE-SYSTEM, in their order. value: place, system, score -> cell."""
    places: dict[str, list[str]] = {}
    systems: dict[str, Records] = {}
    for name, record in records.items():
        place, _, system = name.partition("-")
        known = places.setdefault(place, [])
        known += [score for score in record["scores"] if score not in known]
        systems.setdefault(system, {})[place] = record
    heads = [f"{place}: {score}" for place, scores in places.items() for score in scores]
    lines = [f"| system | {' | '.join(map(cell, heads))} |", f"|:--|{'--:|' * len(heads)}"]
    for system, row in systems.items():
        values = [
            (value(p, system, s) if value else spread(means(row[p], s))) if p in row and s in row[p]["scores"] else ""
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


def missing(table: str, recorded: int, recipes: int) -> list[str]:
    """A note on what is not recorded yet."""
    said = f"{recorded} of the {recipes} experiments of this table are recorded so far."
    how = f"`python -m metabook.record {table}` makes the others; what the table shows will stand here."
    return ["", "```{note}", f"{said} {how}", "```"]


class ComparisonTable(SphinxDirective):
    """See the module's text."""

    required_arguments = 1
    has_content = True
    option_spec = dict.fromkeys(("columns", "place", *AGAINST), directives.unchanged_required)

    def run(self) -> list[nodes.Node]:
        """The table."""
        table = self.arguments[0]
        paths: list[Path] = sorted((folder() / table).glob("*.json"))
        for path in paths:
            self.env.note_dependency(str(path))
        recorded = {path.stem: read(path) for path in paths}
        recipes = {name.rpartition("/")[2]: r for name, r in RECIPES.items() if name.startswith(f"{table}/")}
        if not recipes:
            raise self.error(f"comparison-table: {table} given; there is no recipe of that table")
        ordered = {name: recorded[name] for name in recipes if name in recorded}
        holder = nodes.container(classes=["results-table", "comparison-table"])
        whole, columns = len(ordered) == len(recipes), self.options.get("columns")
        if columns:  # a part of a table in the making says little
            ordered = chosen(ordered, [name.strip() for name in columns.split(";")]) if whole else {}
        place = self.options.get("place")
        ordered = {name: r for name, r in ordered.items() if place in (None, name.partition("-")[0])}
        lines = markdown(ordered) if ordered else []
        for option in AGAINST.keys() & self.options if ordered else ():
            base, (compare, said) = self.options[option], AGAINST[option]
            lines += ["", said.format(base), "", *against(ordered, base, compare)]
        lines += [] if columns else beside(recipes)
        lines += [] if whole else missing(table, len(recorded.keys() & recipes), len(recipes))
        self.state.nested_parse(StringList(lines, source="results"), self.content_offset, holder)
        if whole:
            self.state.nested_parse(self.content, self.content_offset, holder)
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("comparison-table", ComparisonTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
