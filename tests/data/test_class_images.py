"""Labelled image sets: choosing classes, turning, joining, averaging by area."""

import pytest
import torch

from metabook.data.class_images import ClassImages, concatenate
from metabook.data.pixels import area_average


def made(names=("a", "b", "c"), groups=(0, 1, 1), group_names=("g", "h"), per_class=2):
    """Class k's images have the top left pixel at 10 k + 1, 10 k + 2, ... and nothing else."""
    n = len(names) * per_class
    images = torch.zeros(n, 1, 4, 4, dtype=torch.uint8)
    labels = torch.arange(len(names)).repeat(per_class)
    images[:, 0, 0, 0] = 10 * labels + torch.arange(per_class).repeat_interleave(len(names)) + 1
    return ClassImages(images, labels, list(names), torch.tensor(groups), list(group_names))


def test_select_renumbers_classes_in_the_order_given():
    chosen = made().select([2, 0])
    assert chosen.names == ["c", "a"] and chosen.group_names == ["g", "h"] and chosen.groups.tolist() == [1, 0]
    by_class = {k: sorted(chosen.images[chosen.labels == k, 0, 0, 0].tolist()) for k in (0, 1)}
    assert by_class == {0: [21, 22], 1: [1, 2]}


def test_select_drops_groups_without_a_class():
    chosen = made().select([1, 2])
    assert chosen.group_names == ["h"] and chosen.groups.tolist() == [0, 0]
    assert made().select_groups(["h"]).names == ["b", "c"]


def test_rotated_turns_are_classes_of_their_own_with_their_group():
    turned = made().rotated()
    assert len(turned.names) == 12 and turned.names[4] == "b turned 90°"
    assert turned.groups.tolist() == [0, 1, 1] * 4 and turned.labels.bincount().tolist() == [2] * 12
    corner = {0: (0, 0), 1: (3, 0), 2: (3, 3), 3: (0, 3)}  # counter-clockwise
    for turn, (row, column) in corner.items():
        assert sorted(turned.images[turned.labels == 3 * turn + 2, 0, row, column].tolist()) == [21, 22]
    assert made().rotated(1).names == ["a", "b", "c"]
    assert len(made().rotated(2).names) == 6


def test_mirror_images_are_classes_of_their_own_with_their_group():
    data, both = made(), made().mirrored()
    assert both.names == ["a", "b", "c", "a mirrored", "b mirrored", "c mirrored"]
    n = len(data.images)
    assert both.labels.tolist() == [*data.labels.tolist(), *(y + 3 for y in data.labels.tolist())]
    assert torch.equal(both.images[:n], data.images) and torch.equal(both.images[n:].flip(-1), data.images)
    assert both.groups.tolist() == 2 * data.groups.tolist() and both.group_names == data.group_names
    assert not torch.equal(both.images[n:], data.images)


def test_concatenate_keeps_classes_apart_and_joins_groups_of_one_name():
    joined = concatenate([made(), made(names=("d",), groups=(0,), group_names=("h",))])
    assert joined.names == ["a", "b", "c", "d"] and joined.group_names == ["g", "h"]
    assert joined.groups.tolist() == [0, 1, 1, 1]
    assert joined.labels.tolist() == [0, 1, 2, 0, 1, 2, 3, 3]
    assert sorted(joined.images[joined.labels == 3, 0, 0, 0].tolist()) == [1, 2]


def test_area_average_by_hand():
    """3 pixels onto 2: the middle one counts half for each, (2 * first + middle) / 3."""
    image = torch.tensor([[[0, 90, 240]] * 3], dtype=torch.uint8)
    assert area_average(image, 2).tolist() == [[[30, 190], [30, 190]]]


def test_area_average_keeps_the_mean_of_an_official_size():
    image = torch.randint(0, 256, (3, 105, 105), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = area_average(image, 28)
    assert small.shape == (3, 28, 28)
    assert (small.double().mean((1, 2)) - image.double().mean((1, 2))).abs().max() < 0.1  # rounding only
    blocks = torch.randint(0, 256, (2, 7, 7), dtype=torch.uint8).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(area_average(blocks, 7), blocks[:, ::4, ::4])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: made().select([0, 3]), r"classes: \[0, 3\] given; needed are different numbers of 0..2"),
        (lambda: made().select([1, 1]), r"classes: \[1, 1\] given"),
        (lambda: made().select([]), r"classes: \[\] given"),
        (lambda: made().select_groups(["x"]), "group 'x' given; known are g, h"),
        (lambda: made().rotated(5), "quarters: 5 given; allowed are 1 to 4"),
        (lambda: made().rotated(0), "quarters: 0 given; at least 1"),
        (lambda: concatenate([]), "sets: none given"),
        (lambda: concatenate([made(), made()._replace(images=torch.zeros(6, 1, 5, 5))]), r"sets: images of shapes"),
    ],
)
def test_bad_input(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_only_square_images_turn():
    with pytest.raises(ValueError, match=r"images: shape \[6, 1, 4, 5\]; only square"):
        made()._replace(images=torch.zeros(6, 1, 4, 5, dtype=torch.uint8)).rotated()
