"""Boxes in rows by depth, apart, lanes side by side; arrows go round boxes and cross as little as they can."""

from itertools import pairwise, product

import numpy as np
import pytest

from metabook import flow_layout
from metabook.flow_layout import depths, lay_out

#: a long arrow (a to f), two lanes, and an order in which arrows cross
LANES = {"a": 0, "b": 0, "c": 0, "d": 0, "q": 1, "e": 0, "f": 1}
EDGES = [("a", "d"), ("b", "c"), ("c", "e"), ("d", "e"), ("e", "f"), ("a", "f"), ("q", "f")]
WIDTH, GAP = 1.5, 0.3


@pytest.fixture
def layout():
    return lay_out(LANES, dict.fromkeys(LANES, WIDTH), EDGES, gap=GAP)


def test_the_row_is_the_longest_path():
    """f hangs on e, e on c and d, these on a and b; that a also goes to f straight makes no difference."""
    assert depths(list(LANES), EDGES) == {"a": 0, "b": 0, "q": 0, "c": 1, "d": 1, "e": 2, "f": 3}


def test_boxes_of_a_row_and_arrows_that_pass_it_are_apart(layout):
    items = [(x, row, WIDTH) for x, row in layout.boxes.values()]
    items += [(x, row, GAP) for path in layout.arrows.values() for x, row in path[1:-1]]
    for row in range(4):
        mine = sorted((x, width) for x, r, width in items if r == row)
        for (x, width), (other, its) in pairwise(mine):
            assert other - x >= (width + its) / 2 + GAP - 1e-9


def test_arrows_run_from_box_to_box_through_every_row(layout):
    assert list(layout.arrows) == EDGES
    for (a, b), path in layout.arrows.items():
        assert path[0] == layout.boxes[a] and path[-1] == layout.boxes[b]
        assert [row for _, row in path] == list(range(path[0][1], path[-1][1] + 1))


def test_lanes_are_side_by_side(layout):
    left, border, right = layout.edges
    for name, (x, _) in layout.boxes.items():
        if LANES[name]:
            assert border <= x - WIDTH / 2 and x + WIDTH / 2 <= right
        else:
            assert left <= x - WIDTH / 2 and x + WIDTH / 2 <= border - GAP + 1e-9
    alone = lay_out({"a": 1, "b": 1}, {"a": 1, "b": 2}, [("a", "b")], gap=GAP)
    assert len(alone.edges) == 2 and alone.edges[1] - alone.edges[0] == 2


def test_what_need_not_cross_does_not(layout):
    """a goes to d and b to c, which stand the other way round in the list."""
    assert (layout.boxes["a"][0] < layout.boxes["b"][0]) == (layout.boxes["d"][0] < layout.boxes["c"][0])


def test_a_box_stands_in_the_middle_of_what_it_hangs_on():
    """Two inputs and what they make; nothing is in the way."""
    layout = lay_out({"a": 0, "b": 0, "c": 0}, dict.fromkeys("abc", 1.0), [("a", "c"), ("b", "c")], gap=GAP)
    (a, _), (b, _), (c, _) = layout.boxes.values()
    assert abs(c - (a + b) / 2) < 1e-9 and abs(b - a - 1 - GAP) < 1e-9


def test_the_nearest_rising_sequence_is_that_of_a_search():
    values = [3.0, 1.0, 2.0, 0.5]
    grid = np.linspace(0, 3, 25)
    best = min(
        (v for v in product(grid, repeat=4) if list(v) == sorted(v)),
        key=lambda v: sum((a - b) ** 2 for a, b in zip(v, values, strict=True)),
    )
    np.testing.assert_allclose(flow_layout._rising(values), best, atol=0.0626)
    assert flow_layout._rising([1.0, 2.0, 5.0]) == [1.0, 2.0, 5.0]
