"""The picture shows the calls that were written down, every one, and nothing else."""

from collections import Counter

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

import metabook
from metabook.flow import record_flow
from metabook.flow_drawing import show_flow
from metabook.nn import AugmentedNet
from metabook.plots import COLOURS

META_NET = ("representation.body", "representation", "base", "to_task_weights", "to_fast_weights", "read")
TITLES = {"read": "attention"}
#: system, tasks, parts, options
CASES = {
    "meta-networks": ("meta-networks", "glyphs", META_NET, {"width": 4, "features": 8}),
    "contrastive": ("meta-networks", "clusters", META_NET, {"loss": "contrastive"}),
    "hypernetwork": ("hypernetwork", "sinusoids", ("net", "encoder", "generator"), {}),
    "metanetworks": (
        "metanetworks",
        "function-mixture",
        ("net", "encoder", "chooser", "writer"),
        {"nodes": 2, "inner_steps": 1},
    ),
}


@pytest.fixture(params=CASES, scope="module")
def drawn(request):
    """Calls, figure, and what is in it: boxes, dots, arrows."""
    system, name, parts, options = CASES[request.param]
    tasks = metabook.make_tasks(name, queries=2)
    episode = tasks.sample(1, torch.Generator().manual_seed(0))
    calls = record_flow(metabook.build(system, tasks, **options), episode, parts, [(AugmentedNet, "gradients")])
    figure = show_flow(calls, TITLES if "read" in parts else {})
    patches = figure.axes[0].patches
    kinds = [{p.get_gid(): p for p in patches if isinstance(p, kind)} for kind in (FancyBboxPatch, Circle)]
    yield calls, figure, *kinds, [p for p in patches if isinstance(p, FancyArrowPatch)]
    plt.close(figure)


def ends(arrow):
    """Where it begins, and its tip, which is the lowest of its points."""
    path = arrow.get_path()
    points = arrow.axes.transData.transform(path.vertices[path.codes != path.CLOSEPOLY])
    return points[0], points[points[:, 1].argmin()]


def holds(patch, point, slack):
    box = patch.get_window_extent()
    return box.padded(slack).contains(*point)


def test_a_box_for_every_call_and_input(drawn):
    calls, _, boxes, _, _ = drawn
    inputs = {source for call in calls for given in call.inputs for source in given.sources}
    assert set(boxes) == inputs | {call.name for call in calls}
    assert {"support x", "support y", "query x"} <= set(boxes)


def test_every_arrow_is_an_input_of_a_call_and_every_input_has_one(drawn):
    calls, _, _, dots, arrows = drawn
    right = {f"{source} -> {call.name}" for call in calls for given in call.inputs for source in given.sources}
    drawn_once = Counter(arrow.get_gid() for arrow in arrows)
    assert set(drawn_once) - set(dots) == right
    # twice only where a source gives one tensor as it is and has a part in another
    for name, count in drawn_once.items():
        source, _, target = name.partition(" -> ")
        given = [g for call in calls if call.name == target for g in call.inputs]
        alone, joined = ([g for g in given if source in g.sources and (len(g.sources) > 1) == m] for m in (False, True))
        assert count == (1 if name in dots else bool(alone) + bool(joined))


def test_an_arrow_runs_from_the_box_of_its_source_to_that_of_its_call(drawn):
    _, figure, boxes, dots, arrows = drawn
    figure.canvas.draw()
    slack = 0.08 * figure.dpi
    for arrow in arrows:
        source, _, target = arrow.get_gid().partition(" -> ")
        start, end = ends(arrow)
        dot = dots.get(f"other steps -> {target}")
        assert holds(dots[arrow.get_gid()] if source == "other steps" else boxes[source], start, slack)
        assert holds(boxes[target], end, slack) or (dot is not None and holds(dot, end, slack))
        assert start[1] > end[1]  # down


def test_shapes_stand_above_the_box_that_was_given_them(drawn):
    calls, figure, boxes, *_ = drawn
    figure.canvas.draw()
    texts = [t for t in figure.axes[0].texts if t.get_fontsize() == 7 and t.get_text()]
    for call in calls:
        box = boxes[call.name].get_window_extent()
        near = [t for t in texts if box.x0 < t.get_window_extent().x0 + t.get_window_extent().width / 2 < box.x1]
        near = [t for t in near if 0 < t.get_window_extent().y0 - box.y1 < 0.4 * figure.dpi]
        shown = Counter(line for t in near for line in t.get_text().split("\n") if "more" not in line)
        given = Counter("×".join(map(str, g.shape)) for g in call.inputs if g.sources)
        more = sum(int(t.get_text().rsplit("+ ")[1].split()[0]) for t in near if "more" in t.get_text())
        assert shown <= given and (given - shown).total() == more


def test_the_state_is_what_goes_from_adapt_to_predict_and_dashes_are_other_steps(drawn):
    calls, _, _, dots, arrows = drawn
    phase = {call.name: call.phase for call in calls} | dict.fromkeys(("support x", "support y"), "adapt")
    for arrow in arrows:
        source, _, target = arrow.get_gid().partition(" -> ")
        given = [g for call in calls if call.name == target for g in call.inputs]
        alone = [g for g in given if g.sources == (source,)]
        straight = arrow.get_linestyle() in ("-", "solid")
        state = to_hex(arrow.get_edgecolor()).upper() == COLOURS[5]
        if arrow.get_gid() in dots:
            assert not straight and state == (phase[target] == "predict")
        elif alone and all(source not in g.sources for g in given if len(g.sources) > 1):
            assert straight == all(g.direct for g in alone)
            assert state == (phase.get(source) == "adapt" and phase[target] == "predict")


def test_nothing_overlaps_and_every_name_fits_its_box(drawn):
    _, figure, boxes, _, _ = drawn
    figure.canvas.draw()
    extents = {name: box.get_window_extent() for name, box in boxes.items()}
    labels = [t.get_window_extent() for t in figure.axes[0].texts if t.get_fontsize() == 7 and t.get_text()]
    for name, one in extents.items():
        assert all(name == other or not one.overlaps(its) for other, its in extents.items())
        assert not any(one.overlaps(label) for label in labels)
        words = next(t for t in figure.axes[0].texts if t.get_fontsize() == 8 and t.get_text().split("\n")[0] == name)
        inside = words.get_window_extent()
        assert one.x0 < inside.x0 and inside.x1 < one.x1 and one.y0 <= inside.y0 and inside.y1 <= one.y1
    for i, label in enumerate(labels):
        assert not any(label.overlaps(other) for other in labels[:i])
    right = [t.get_window_extent().x1 for t in figure.texts]
    left = [t.get_window_extent().x0 for t in figure.texts]
    assert all(a < b for a, b in zip(right, left[1:], strict=False)) and right[-1] < figure.bbox.x1


def test_what_nobody_reads_is_returned_and_titles_are_shown(drawn):
    calls, figure, *_ = drawn
    lines = {t.get_text().split("\n")[0]: t.get_text().split("\n")[1:] for t in figure.axes[0].texts}
    assert lines[calls[-1].name][-1] == "returns " + "×".join(map(str, calls[-1].outputs[0]))
    if "read" in lines:
        assert lines["read"] == ["attention"]


def test_bad_arguments_are_named(drawn):
    calls = drawn[0]
    with pytest.raises(ValueError, match="calls: none given"):
        show_flow([])
    with pytest.raises(ValueError, match=f"titles: 'reed' given; the calls are of .*{calls[-1].part}"):
        show_flow(calls, {"reed": ""})
