"""The directive {results-table}: recorded results beside published ones.

```{results-table}
:system: maml            patterns with * are allowed; without a filter, every result
:tasks: omniglot*
:name: sinusoids-*       the file's name without .json
```
"""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FIELDS = ("title", "system", "tasks", "command", "seed", "device", "torch", "scores")


def folder() -> Path:
    """Where the package keeps its recorded results."""
    import metabook

    return Path(metabook.__file__).parent / "results"


def read(path: Path) -> dict[str, Any]:
    """One recorded result; ValueError that names the file and the field that is missing."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if missing := [field for field in FIELDS if field not in record]:
        raise ValueError(f"{path.name}: {', '.join(missing)} missing; a recorded result has {', '.join(FIELDS)}")
    return {"name": path.stem, "published": [], "settings": {}, **record}


def select(filters: dict[str, str], source: Path | None = None) -> list[dict[str, Any]]:
    """The recorded results whose fields match every pattern, by system, tasks and name."""
    records = [read(path) for path in sorted((source or folder()).glob("*.json"))]
    kept = [r for r in records if all(fnmatch.fnmatch(str(r[field]), p) for field, p in filters.items())]
    return sorted(kept, key=lambda r: (str(r["tasks"]), str(r["system"]), r["name"]))


def number(value: Any) -> str:
    """Four significant digits of a number; a text as it is (published values carry their own interval)."""
    return f"{value:.4g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def score(value: dict[str, Any]) -> str:
    """mean ± interval, with as many decimals as the interval has meaning for."""
    interval = value.get("interval")
    if interval is None:
        return number(value["mean"])
    decimals = next((d for d in range(1, 6) if interval * 10**d >= 10), 6)
    return f"{value['mean']:.{decimals}f} ± {interval:.{decimals}f}"


def cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def markdown(records: list[dict[str, Any]]) -> list[str]:
    """The table, then for each result how it was made and what it stands beside."""
    lines = ["| Result | Score | Ours, 95 % interval | n | Published |", "|:--|:--|:--|--:|:--|"]
    for record in records:
        published = "; ".join(f"{number(p['value'])} ({p['source']})" for p in record["published"]) or "none"
        for i, (name, value) in enumerate(record["scores"].items()):
            others = ", ".join(number(repeat["scores"][name]["mean"]) for repeat in record.get("repeats") or [])
            row = (
                record["title"] if i == 0 else "",
                f"{name}; other seeds: {others}" if others else name,
                score(value),
                value.get("n", ""),
                published if i == 0 else "",
            )
            lines.append(f"| {' | '.join(cell(part) for part in row)} |")
    lines.append("")
    for record in records:
        seeds = record["seed"] if isinstance(record["seed"], list) else [record["seed"]]
        made = f"Seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}; {record['device']}; torch {record['torch']}"
        made += "".join(
            f"; {label} {record[key]}" for key, label in (("python", "Python"), ("date", "on")) if key in record
        )
        made += f"; {number(record['minutes'])} minutes." if "minutes" in record else "."
        lines += [f"::::{{dropdown}} {record['title']}: how it was made", "```bash", record["command"], "```", made]
        if record["settings"]:
            lines += ["", "Settings: " + ", ".join(f"`{k} = {v}`" for k, v in record["settings"].items()) + "."]
        for other in record["published"]:
            lines += ["", f"- {other.get('system', record['system'])}, {other['source']}: {number(other['value'])}"]
            lines[-1] += f"; differs: {other['differs']}." if other.get("differs") else "."
        lines += ["::::", ""]
    return lines


class ResultsTable(SphinxDirective):
    """See the module's text."""

    option_spec = dict.fromkeys(("system", "tasks", "name"), directives.unchanged_required)

    def run(self) -> list[nodes.Node]:
        """The table, and a folded account of each result."""
        for path in folder().glob("*.json"):
            self.env.note_dependency(str(path))
        try:
            records = select(self.options)
        except ValueError as error:
            raise self.error(str(error)) from error
        if not records and not self.options:
            return [nodes.paragraph(text="No result is recorded yet.")]
        if not records:
            asked = ", ".join(f"{k} = {v}" for k, v in self.options.items())
            raise self.error(f"results-table: no recorded result for {asked}")
        holder = nodes.container(classes=["results-table"])
        self.state.nested_parse(StringList(markdown(records), source="results"), self.content_offset, holder)
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("results-table", ResultsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
