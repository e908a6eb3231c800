"""Few-shot tasks from labelled tensors: what the sampler promises, counted."""

import math

import pytest
import torch

from metabook.checks import check_episode
from metabook.tasks import FewShot, Tasks
from metabook.tasks.draw import draw_distinct

COUNTS = (6, 9, 7, 12, 6, 8, 20, 6)


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def numbered(counts=COUNTS, device="cpu"):
    """A labelled set in mixed order whose inputs are their own row numbers, so that an episode shows what was drawn."""
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(5))]
    return torch.arange(len(y), dtype=torch.float64, device=device).unsqueeze(1), y.to(device)


def images(device, counts=COUNTS):
    n = sum(counts)
    x = torch.randint(0, 256, (n, 1, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return x.to(device), numbered(counts, device)[1]


@pytest.mark.parametrize("within", [False, True])
def test_classes_are_distinct_labels_name_one_class_and_support_and_query_are_disjoint(device, within):
    x, y = numbered(device=device)
    groups = torch.tensor([0, 1, 0, 1, 1, 0, 1, 2], device=device)
    tasks = FewShot(x, y, way=3, shots=2, queries=4, groups=groups, within_groups=within)
    episode = tasks.sample(200, generator(device))
    check_episode(episode, tasks.likelihood, tasks.x_shape)
    assert isinstance(tasks, Tasks)
    assert episode.support.y.tolist() == [[0, 0, 1, 1, 2, 2]] * 200
    assert episode.query.y.tolist() == [[0] * 4 + [1] * 4 + [2] * 4] * 200
    for support, query in zip(episode.support.x.squeeze(-1).long(), episode.query.x.squeeze(-1).long(), strict=True):
        assert len(set(support.tolist() + query.tolist())) == 18  # nothing twice, so no overlap
        classes = y[support].view(3, 2)
        assert (classes == classes[:, :1]).all() and (y[query].view(3, 4) == classes[:, :1]).all()
        assert len(set(classes[:, 0].tolist())) == 3
        assert not within or len(set(groups[classes[:, 0]].tolist())) == 1


def test_every_class_and_every_example_is_equally_likely_at_every_place(device):
    x, y = numbered(device=device)
    n = 20_000
    support, query = FewShot(x, y, way=3, shots=2, queries=4).index(n, generator(device))
    assert support.shape == (n, 3, 2) and query.shape == (n, 3, 4)
    for label in range(3):  # the class behind a label is uniform over the 8
        share = torch.bincount(y[support[:, label, 0]], minlength=8).double() / n
        assert (share - 1 / 8).abs().max() < 5 * math.sqrt(1 / 8 * 7 / 8 / n)
    drawn = torch.cat([support, query], 2)
    for place in range(6):  # an example's share is its class's share over the size of its class
        share = torch.bincount(drawn[:, :, place].flatten(), minlength=len(x)).double() / (3 * n)
        expected = 1 / 8 / torch.tensor(COUNTS, dtype=torch.float64, device=device)[y]
        assert ((share - expected).abs() / (expected / (3 * n)).sqrt()).max() < 5


def test_groups_are_equally_likely_and_small_ones_never_drawn(device):
    x, y = numbered(device=device)
    groups = torch.tensor([0, 1, 0, 1, 1, 0, 1, 2], device=device)
    n = 20_000
    support, _ = FewShot(x, y, way=3, queries=4, groups=groups, within_groups=True).index(n, generator(device))
    share = torch.bincount(groups[y[support[:, 0, 0]]], minlength=3).double() / n
    assert share[2] == 0 and abs(share[0].item() - 0.5) < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize("most", [5, 1000])
def test_draw_distinct_is_uniform_over_ordered_draws(device, most):
    """Both ways of drawing: each of the 5 * 4 * 3 ordered draws of 3 of 5 has probability 1/60."""
    n = 60_000
    drawn = draw_distinct(3, torch.full((n,), 5, device=device), most, generator(device))
    share = torch.bincount(drawn[:, 0] * 25 + drawn[:, 1] * 5 + drawn[:, 2], minlength=125).double() / n
    possible = torch.tensor([len({a, b, c}) == 3 for a in range(5) for b in range(5) for c in range(5)], device=device)
    assert (share[~possible] == 0).all()
    assert (share[possible] - 1 / 60).abs().max() < 5 * math.sqrt(1 / 60 / n)


@pytest.mark.parametrize("most", [7, 1000])
def test_draw_distinct_puts_all_numbers_of_a_short_row_first(device, most):
    count = torch.tensor([1, 3, 7] * 50, device=device)
    drawn = draw_distinct(7, count, most, generator(device))
    for row, c in zip(drawn.tolist(), count.tolist(), strict=True):
        assert sorted(row[:c]) == list(range(c))


def test_repeat_splits_short_classes_and_never_shares_an_example(device):
    """A class of 5 and 3 shots: 2 examples support, 3 queries. A class of 12 and 3 + 7 needed: nothing repeats."""
    x, y = numbered((5, 12), device)
    tasks = FewShot(x, y, way=2, shots=3, queries=7, repeat=True)
    support, query = tasks.index(300, generator(device))
    for s, q in zip(support.flatten(0, 1).tolist(), query.flatten(0, 1).tolist(), strict=True):
        assert not set(s) & set(q)
        assert (len(set(s)), len(set(q))) == ((2, 3) if y[s[0]] == 0 else (3, 7))


def test_images_become_floats_of_the_default_dtype_between_0_and_1(device):
    x, y = images(device)
    tasks = FewShot(x, y, way=2, queries=3)
    assert tasks.x_shape == (1, 6, 5)
    support, _ = tasks.index(4, generator(device))
    drawn = tasks.sample(4, generator(device)).support.x
    assert drawn.dtype == torch.float32 and drawn.shape == (4, 2, 1, 6, 5)
    torch.testing.assert_close(drawn, x[support.flatten(1)].float() / 255)
    torch.set_default_dtype(torch.float64)
    assert tasks.sample(1, generator(device)).query.x.dtype == torch.float64
    white = FewShot(torch.full_like(x, 255), y, queries=3).sample(1, generator(device)).query.x
    assert (white == 1).all()


def test_float_inputs_of_any_shape_come_out_as_they_are(device):
    _, y = numbered(device=device)
    x = torch.randn(len(y), 2, 3, dtype=torch.float64, device=device)
    tasks = FewShot(x, y, way=2, queries=3)
    support, query = tasks.index(3, generator(device))
    episode = tasks.sample(3, generator(device))
    assert tasks.x_shape == (2, 3) and episode.query.x.dtype == torch.float64
    assert torch.equal(episode.support.x, x[support.flatten(1)]) and torch.equal(episode.query.x, x[query.flatten(1)])


def test_same_seed_same_tasks_other_seed_other_tasks(device):
    tasks = FewShot(*images(device), queries=3)
    a, b, c = (tasks.sample(4, generator(device, seed)) for seed in (3, 3, 4))
    assert torch.equal(a.support.x, b.support.x) and torch.equal(a.query.x, b.query.x)
    assert not torch.equal(a.support.x, c.support.x)


def test_data_move_to_the_device_of_the_generator(device):
    tasks = FewShot(*images("cpu"), queries=3)
    episode = tasks.sample(2, generator(device))
    assert episode.support.x.device == episode.query.y.device == generator(device).device


def test_distort_is_applied_to_support_and_query(device):
    seen = []

    def distort(x, g):
        seen.append(tuple(x.shape))
        return x * 0 + 0.25

    episode = FewShot(*images(device), way=2, queries=3, distort=distort).sample(4, generator(device))
    assert seen == [(8, 1, 6, 5), (24, 1, 6, 5)]
    assert (episode.support.x == 0.25).all() and (episode.query.x == 0.25).all()


X, Y = numbered()
BAD = {
    "a list for x": ({"x": [1.0], "y": Y}, TypeError, "x, y: list"),
    "integer inputs": ({"x": X.long()}, ValueError, "x: torch.int64 given; uint8 images or floating"),
    "lengths differ": ({"y": Y[:-1]}, ValueError, r"shapes \[74, 1\] and \[73\]"),
    "x of one dimension": ({"x": X[:, 0]}, ValueError, r"needed are \[n, \*X\]"),
    "no examples": ({"x": X[:0], "y": Y[:0]}, ValueError, "n >= 1"),
    "uint8 that are no images": ({"x": X.to(torch.uint8)}, ValueError, r"images are \[n, C, H, W\]"),
    "float labels": ({"y": Y.float()}, ValueError, "y: torch.float32 given; labels must be int64"),
    "negative label": ({"y": Y - 1}, ValueError, "y: label -1 given"),
    "a class left out": ({"y": Y + (Y > 2)}, ValueError, "y: class 3 has no example"),
    "NaN": ({"x": X * math.nan}, ValueError, "x: NaN or infinite"),
    "too few classes": ({"way": 9}, ValueError, "way: 9 given; the data have at most 8 classes"),
    "one class a task": ({"way": 1}, ValueError, "way: 1 given; at least 2"),
    "too few examples": ({"shots": 3}, ValueError, r"shots \+ queries: 3 \+ 4 given.*needs 7 examples; class 0 has 6"),
    "no shots": ({"shots": 0}, ValueError, "shots: 0 given"),
    "negative queries": ({"queries": -1}, ValueError, "queries: -1 given"),
    "half a query": ({"queries": 1.5}, TypeError, "queries: 1.5 given; a whole number"),
    "no groups": ({"within_groups": True}, ValueError, "groups: None given; within_groups needs"),
    "groups of the wrong length": (
        {"within_groups": True, "groups": torch.zeros(3, dtype=torch.int64)},
        ValueError,
        r"groups: torch.int64 of shape \[3\] given",
    ),
    "groups too small": (
        {"within_groups": True, "groups": torch.arange(8)},
        ValueError,
        "at most 1 classes in one group",
    ),
    "distorted numbers": (
        {"distort": lambda x, g: x},
        ValueError,
        r"distort: inputs of shape \[1\] given; only images",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    given, error, message = BAD[case]
    arguments = {"x": X, "y": Y, "shots": 2, "queries": 4, **given}
    with pytest.raises(error, match=message) as raised:
        FewShot(arguments.pop("x"), arguments.pop("y"), **arguments)
    assert "\n" not in str(raised.value)


def test_bad_number_of_tasks(device):
    with pytest.raises(ValueError, match="n: 0 given"):
        FewShot(*numbered(device=device), queries=3).sample(0, generator(device))


def test_repeat_needs_two_examples():
    with pytest.raises(ValueError, match="needs 2 examples; class 1 has 1"):
        FewShot(*numbered((4, 1)), way=2, repeat=True)
