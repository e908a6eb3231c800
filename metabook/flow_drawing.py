"""A picture of what flows through a learner, drawn from the calls that were written down and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path

from metabook.flow import Call
from metabook.flow_layout import Edge, Layout, lay_out
from metabook.plots import COLOURS

PHASES = ("adapt", "predict")
GROUNDS = ("#eaf2f9", "#fdf3e1")
HEIGHT, ROW, GAP, DOT = 0.5, 1.04, 0.34, 0.1  #: inches: of a box, from row to row, between boxes, of a dot
LEAST = 1.45  #: inches, width of a box
LETTER, LABEL = 0.062, 0.059  #: inches of a character in a box, on an arrow


class Arrow(NamedTuple):
    """What a call was given of one source, or of several by other steps."""

    shapes: list[tuple[int, ...]]  #: none on the way to other steps
    direct: bool  #: False if other steps lie in between
    inputs: str  #: "SOURCE -> CALL", or "other steps -> CALL"


def show_flow(calls: Sequence[Call], titles: Mapping[str, str] | None = None) -> Figure:
    """One step of the forward pass as it happened: a box for each call and input, an arrow for what it was given.

    Boxes stand in rows by the longest path from the inputs, the calls of ``adapt`` on the left, those of ``predict`` on
    the right, so the arrows from left to right are the adapted state. On an arrow stand the shapes of the tensors. It
    is dashed where other steps lie between its ends; what is made of several sources comes together in a dot. The group
    id of an arrow is its ``inputs``.

    calls: of ``record_flow``. titles: for a part, what to write under its name.

    Raises ValueError for no calls, and for a title of a part that has none.
    """
    if not calls:
        raise ValueError("calls: none given; record_flow returns at least one for each part that is used")
    by_name, titles = {call.name: call for call in calls}, titles or {}
    for part in titles:
        if part not in (known := dict.fromkeys(call.part for call in calls)):
            raise ValueError(f"titles: {part!r} given; the calls are of {', '.join(known)}")
    lanes, arrows = graph(calls)
    lines: dict[str, list[str]] = {}
    for name in lanes:
        call = by_name.get(name)
        lines[name] = [name] + ([titles[call.part]] if call is not None and call.part in titles else [])
        if call is not None and all(source != name for source, _ in arrows):
            lines[name].append(f"returns {_text(call.outputs)}")
    longest = max(len(line) for name in lanes if not _is_dot(name) for line in lines[name])
    width = max(LEAST, longest * LETTER + 0.12)
    layout = lay_out(lanes, {n: DOT if _is_dot(n) else width for n in lanes}, list(arrows), gap=GAP)
    figure, axis = _ground(layout, sorted(set(lanes.values())))
    for name, place in layout.boxes.items():
        _box(axis, place, lines[name], width, of_data=name not in by_name)
    _arrows(axis, layout, arrows, lanes, width)
    notes = {"green: data": COLOURS[2], "orange: the adapted state": COLOURS[5]}
    if not all(arrow.direct for arrow in arrows.values()):
        notes["dashed: other steps in between"] = "black"
    x = 0.1
    for note, colour in notes.items():
        figure.text(x / figure.get_figwidth(), 0.01, note, color=colour, fontsize=8, va="bottom")
        x += len(note) * LETTER + 0.25
    return figure


def graph(calls: Sequence[Call]) -> tuple[dict[str, int], dict[Edge, Arrow]]:
    """Boxes and dots with their lanes (0: adapt, 1: predict), each after those it depends on; arrows between them."""
    lanes: dict[str, int] = {}
    arrows: dict[Edge, Arrow] = {}
    for call in calls:
        several = [given for given in call.inputs if len(given.sources) > 1]
        sources = list(dict.fromkeys(source for given in call.inputs for source in given.sources))
        for source in sources:
            lanes.setdefault(source, int(source.startswith("query")))
        for given in call.inputs:
            if len(given.sources) == 1:
                source = given.sources[0]
                shapes, direct, _ = arrows.get((source, call.name), Arrow([], True, ""))
                arrow = Arrow([*shapes, given.shape], direct and given.direct, f"{source} -> {call.name}")
                arrows[source, call.name] = arrow
        if several:
            dot, joined = f"other steps -> {call.name}", dict.fromkeys(s for given in several for s in given.sources)
            lanes[dot] = max(lanes[source] for source in joined)
            arrows |= {(source, dot): Arrow([], False, f"{source} -> {call.name}") for source in joined}
            arrows[dot, call.name] = Arrow([given.shape for given in several], False, dot)
        lanes[call.name] = PHASES.index(call.phase)
    return lanes, arrows


def _is_dot(name: str) -> bool:
    return name.startswith("other steps -> ")


def _text(shapes: Sequence[tuple[int, ...]]) -> str:
    """At most two lines, so that they fit between the rows."""
    lines = ["×".join(map(str, shape)) for shape in shapes]
    return "\n".join(lines if len(lines) < 3 else [lines[0], f"+ {len(lines) - 1} more"])


def _ground(layout: Layout, phases: Sequence[int]) -> tuple[Figure, Axes]:
    """Axes in inches; for each phase a ground and a heading."""
    edges = [layout.edges[0] - GAP / 2, *(x - GAP / 2 for x in layout.edges[1:-1]), layout.edges[-1] + GAP / 2]
    top, bottom, foot = 0.58 * ROW, -ROW * max(row for _, row in layout.boxes.values()) - 0.8 * HEIGHT, 0.26
    height = top - bottom + foot
    figure = plt.figure(figsize=(edges[-1] - edges[0], height), layout="none")
    axis = figure.add_axes((0, foot / height, 1, 1 - foot / height))
    axis.set(xlim=(edges[0], edges[-1]), ylim=(bottom, top))
    axis.set_axis_off()
    for (left, right), phase in zip(pairwise(edges), phases, strict=True):
        axis.add_patch(Rectangle((left, bottom), right - left, top - bottom, color=GROUNDS[phase], lw=0, zorder=0))
        axis.text((left + right) / 2, top - 0.08, PHASES[phase], ha="center", va="top", fontsize=10, weight="bold")
    return figure, axis


def _box(axis: Axes, place: tuple[float, int], lines: Sequence[str], width: float, *, of_data: bool) -> None:
    x, y, colour = place[0], -ROW * place[1], COLOURS[2] if of_data else "black"
    if _is_dot(lines[0]):
        axis.add_patch(Circle((x, y), DOT / 2, color="black", zorder=3, gid=lines[0]))
        return
    patch = FancyBboxPatch(
        (x - width / 2, y - HEIGHT / 2), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.08", fc="white",
        ec=colour, lw=1.6 if of_data else 1.0, zorder=3, gid=lines[0],
    )  # fmt: skip
    axis.add_patch(patch)
    axis.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=8, color=colour, zorder=4, linespacing=1.25)


def _arrows(axis: Axes, layout: Layout, arrows: Mapping[Edge, Arrow], lanes: Mapping[str, int], width: float) -> None:
    """Those at the same side of a box are spread along it."""
    points = {edge: [(x, -ROW * row) for x, row in path] for edge, path in layout.arrows.items()}
    raised = dict.fromkeys(points, 0.0)
    for end, step, sign in ((0, 1, -1), (-1, -2, 1)):
        for node in layout.boxes:
            size, height = (0.0, DOT / 2) if _is_dot(node) else (width, HEIGHT / 2)
            mine = sorted((e for e in points if e[end] == node), key=lambda e: layout.arrows[e][step])
            longest = max((len(line) for e in mine for line in _text(arrows[e].shapes).split("\n")), default=0)
            for k, edge in enumerate(mine):
                x, y = points[edge][end]
                points[edge][end] = (x + size * ((k + 0.5) / len(mine) - 0.5), y + sign * height)
                if end == -1 and k % 2 == 1 and longest * LABEL > size / len(mine):  # every second label higher
                    raised[edge] = 0.13
    for edge, (shapes, direct, inputs) in arrows.items():
        is_state = lanes[edge[0]] == 0 and lanes[edge[1]] == 1
        colour = COLOURS[5] if is_state else "black"
        vertices, codes = [points[edge][0]], [Path.MOVETO]
        for (x0, y0), (x1, y1) in pairwise(points[edge]):
            vertices += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
            codes += [Path.CURVE4] * 3
        head = "-" if _is_dot(edge[1]) else "-|>"
        patch = FancyArrowPatch(
            path=Path(vertices, codes), arrowstyle=head, mutation_scale=9, color=colour, lw=1.1,
            ls="-" if direct else (0, (4, 2)), zorder=2, gid=inputs,
        )  # fmt: skip
        axis.add_patch(patch)
        x, y = points[edge][-1]
        axis.text(
            x, y + 0.13 + raised[edge], _text(shapes), ha="center", va="bottom", fontsize=7, color=colour,
            zorder=5, linespacing=1.0, bbox={"fc": "white", "ec": "none", "pad": 0.8, "alpha": 0.85},
        )  # fmt: skip
