"""Where the boxes and arrows of a graph without circles go: rows by depth, lanes side by side, few crossings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 12
Edge = tuple[str, str]


class Layout(NamedTuple):
    """Places of the boxes and the bends of the arrows; x from left to right, rows from above."""

    boxes: dict[str, tuple[float, int]]  #: name -> middle and row
    arrows: dict[Edge, list[tuple[float, int]]]  #: (source, target) -> middle and row of source, bends, and target
    edges: list[float]  #: x of the left edge of the first lane, of the border if there are two, of the right edge


def depths(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """For each node the length of the longest path that ends there. Nodes come after those they depend on."""
    found: dict[str, int] = {}
    for node in nodes:
        found[node] = max((found[source] + 1 for source, target in edges if target == node), default=0)
    return found


def lay_out(lanes: Mapping[str, int], widths: Mapping[str, float], edges: Sequence[Edge], *, gap: float) -> Layout:
    """Boxes in rows by ``depths``, those of lane 0 left of those of lane 1; arrows pass between the boxes.

    Sugiyama, Tagawa, Toda (1981): an arrow over several rows bends in each of them, what lies in a row is sorted by
    the mean place of its neighbours, and then moved as near to them as order and distance allow.

    lanes: node -> 0 or 1; a node comes after those it depends on. widths: of the boxes. gap: between boxes, and room
    for an arrow that passes a row.
    """
    rows = depths(list(lanes), edges)
    paths = {(a, b): [a, *(f"{a}>{b}@{row}" for row in range(rows[a] + 1, rows[b])), b] for a, b in edges}
    lane, row_of = dict(lanes), dict(rows)
    for (a, b), path in paths.items():
        for row, node in enumerate(path[1:-1], rows[a] + 1):
            lane[node], row_of[node] = min(lanes[a], lanes[b]), row  # it crosses the border as late as it can
    near: dict[str, list[str]] = {node: [] for node in lane}
    for path in paths.values():
        for a, b in pairwise(path):
            near[a].append(b)
            near[b].append(a)
    order = [[node for node in lane if row_of[node] == row] for row in range(max(row_of.values()) + 1)]
    order = _few_crossings(order, lane, near)
    size = {node: widths.get(node, gap) for node in lane}
    x = _places(order, lane, near, size, gap)
    lefts = [min(x[n] - size[n] / 2 for n in lane if lane[n] == side) for side in sorted(set(lane.values()))]
    ends = [*lefts, max(x[n] + size[n] / 2 for n in lane)]
    boxes = {node: (x[node], rows[node]) for node in lanes}
    return Layout(boxes, {e: [(x[n], row_of[n]) for n in path] for e, path in paths.items()}, ends)


def _few_crossings(order: list[list[str]], lane: Mapping[str, int], near: Mapping[str, list[str]]) -> list[list[str]]:
    """The rows sorted down and up in turn; the best of all that were seen."""
    best, fewest = order, _crossings(order, near)
    for sweep in range(SWEEPS):
        order = [list(row) for row in order]
        for row in order if sweep % 2 == 0 else reversed(order):
            place = {node: i / len(other) for other in order for i, node in enumerate(other)}
            seen = {n: [place[m] for m in near[n]] or [place[n]] for n in row}
            row.sort(key=lambda n: (lane[n], sum(seen[n]) / len(seen[n])))
        if (count := _crossings(order, near)) < fewest:
            best, fewest = order, count
    return best


def _crossings(order: list[list[str]], near: Mapping[str, list[str]]) -> int:
    place = {node: i for row in order for i, node in enumerate(row)}
    total = 0
    for row, below in pairwise(order):
        lines = [(place[a], place[b]) for a in row for b in near[a] if b in below]
        total += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(lines) for c, d in lines[:i])
    return total


def _places(
    order: list[list[str]],
    lane: Mapping[str, int],
    near: Mapping[str, list[str]],
    size: Mapping[str, float],
    gap: float,
) -> dict[str, float]:
    """The middle of every node: near those it is joined to, in order, no two closer than ``gap``, lanes apart at 0."""
    x = {node: float(i) for row in order for i, node in enumerate(row)}
    for sweep in range(4 * SWEEPS):
        for row in order if sweep % 2 == 0 else reversed(order):
            for side in (0, 1):
                nodes = [n for n in row if lane[n] == side]
                if not nodes:
                    continue
                wanted = [sum(x[m] for m in near[n]) / len(near[n]) if near[n] else x[n] for n in nodes]
                steps = [0.0]
                for a, b in pairwise(nodes):
                    steps.append(steps[-1] + (size[a] + size[b]) / 2 + gap)
                free = _rising([w - s for w, s in zip(wanted, steps, strict=True)])
                if side == 0:
                    most = -gap / 2 - size[nodes[-1]] / 2 - steps[-1]
                    free = [min(v, most) for v in free]
                else:
                    free = [max(v, gap / 2 + size[nodes[0]] / 2) for v in free]
                x |= {n: v + s for n, v, s in zip(nodes, free, steps, strict=True)}
    return x


def _rising(values: Sequence[float]) -> list[float]:
    """The nearest sequence, by least squares, that never falls: neighbours that would are put at their mean."""
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            last = pools.pop()
            total, count = total + last[0], count + last[1]
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]
