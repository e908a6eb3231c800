"""A picture of systems as labelled points: a score against a time, for pages as narrow as a telephone."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from metabook.plots import COLOURS, GREY

STYLE = {"svg.hashsalt": "metabook", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
SIZE = (4.4, 6.4)  #: inches; a telephone shows it at about its own size
#: chapter -> colour, marker and the name in the legend
CHAPTERS = {
    "formalism": (GREY, "X", "baselines"),
    "optimization": (COLOURS[0], "o", "optimization"),
    "metric": (COLOURS[1], "s", "metric"),
    "generative": (COLOURS[2], "^", "generative"),
    "metanetworks": (COLOURS[5], "D", "MetaNetworks"),
}
RADIUS = 3.5  #: of a point, in points of the picture
TEXT = 8  #: size of a name


class Point(NamedTuple):
    """One system."""

    name: str
    chapter: str
    x: float
    scores: list[float]  #: of each seed

    @property
    def y(self) -> float:
        return sum(self.scores) / len(self.scores)


def draw(points: Sequence[Point], *, x_label: str, y_label: str, log_y: bool) -> Figure:
    """The picture; the axis of x is logarithmic, and a thin line goes from the lowest to the highest seed.

    Raises ValueError without points, and for a value that a logarithmic axis cannot show.
    """
    if not points or any(p.x <= 0 or (log_y and min(p.scores) <= 0) for p in points):
        raise ValueError(f"points: {len(points)} given; at least one is needed, and values above 0 on logarithmic axes")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, dpi=72)
        FigureCanvasAgg(figure)
        axis = figure.add_axes((0.14, 0.08, 0.83, 0.83))
        axis.set_xscale("log")
        axis.set_yscale("log" if log_y else "linear")
        for p in points:
            colour, marker, _ = CHAPTERS[p.chapter]
            axis.plot([p.x, p.x], [min(p.scores), max(p.scores)], color=colour, lw=0.8, alpha=0.6)
            axis.plot(p.x, p.y, marker, color=colour, ms=2 * RADIUS - 2, gid=f"point-{p.name}")
        axis.margins(0.08, 0.05)
        axis.set(xlabel=x_label, ylabel=y_label)
        axis.grid(color=GREY, alpha=0.2, lw=0.5)
        there = {p.chapter for p in points}
        for colour, marker, name in (CHAPTERS[c] for c in CHAPTERS if c in there):
            axis.plot([], [], marker, color=colour, ms=2 * RADIUS - 2, label=name)
        figure.legend(loc="upper center", ncols=3, frameon=False, handletextpad=0.1, columnspacing=1)
        label(axis, points)
    return figure


def label(axis: Axes, points: Sequence[Point]) -> list[Bbox]:
    """Write each name near its point, where no other name and no point is; return the places of the names."""
    axis.autoscale_view()  # it waits until something is drawn else
    renderer: Any = axis.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    centres = [tuple(axis.transData.transform((p.x, p.y))) for p in points]
    taken = [Bbox.from_extents(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in centres]
    names = []
    for p, centre in sorted(zip(points, centres, strict=True), key=lambda pair: pair[1]):
        colour = CHAPTERS[p.chapter][0]
        measured = axis.text(0, 0, p.name, fontsize=TEXT)
        width, height = measured.get_window_extent(renderer).size
        measured.remove()
        found = next(_free(centre, (width, height), axis.bbox, taken), None)
        if found is None:
            found = (centre[0], centre[1] + height)  # nowhere is room: rather an overlap than a system without a name
        axis.annotate(
            p.name, (p.x, p.y), (found[0] - centre[0], found[1] - centre[1]), textcoords="offset points",
            ha="center", va="center", fontsize=TEXT, gid=f"name-{p.name}",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip
        place = Bbox.from_bounds(found[0] - width / 2, found[1] - height / 2, width, height)
        taken.append(place)
        names.append(place)
    return names


def _free(
    centre: tuple[float, ...], size: tuple[float, float], inside: Bbox, taken: Sequence[Bbox]
) -> Iterator[tuple[float, float]]:
    """Centres for a box of that size around a point, the nearest first, that lie inside and touch nothing."""
    width, height = size
    for radius in range(7, 160, 6):
        for turn in (0, 8, 2, 14, 6, 10, 4, 12, 1, 15, 7, 9, 3, 13, 5, 11):  # right and left before all others
            dx, dy = math.cos(math.tau * turn / 16), math.sin(math.tau * turn / 16)
            x = centre[0] + radius * dx + width / 2 * (dx > 0.1) - width / 2 * (dx < -0.1)
            y = centre[1] + radius * dy
            box = Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if within and not any(box.overlaps(other) for other in taken):
                yield x, y


def svg(figure: Figure) -> str:
    """The picture as text, the same on every run."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
