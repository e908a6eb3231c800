"""The distance between sets of prototypes: numbers by hand, two other formulas, its promises, and real scripts."""

import itertools

import pytest
import torch

from metabook.data import glyphs, omniglot
from metabook.data.class_images import concatenate
from metabook.data.download import find
from metabook.episode import Examples
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import Pixels
from metabook.task_distance import task_distance


def points(*values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(-1)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_by_hand():
    """A = {0, 2}, B = {1, 5}: |a - b| is 1, 5, 1, 3, mean 2.5; |a - a'| is 0, 2, 2, 0; |b - b'| is 0, 4, 4, 0.

    So 2 * 2.5 - 1 - 2 = 2, and without the pairs with themselves 2 * 2.5 - 2 - 4 = -1.
    In the plane, {(0, 0)} and {(3, 4)}: 2 * 5.
    """
    a, b = points(0.0, 2.0), points(1.0, 5.0)
    assert task_distance(a, b).item() == pytest.approx(2, abs=1e-15)
    assert task_distance(a, b, unbiased=True).item() == pytest.approx(-1, abs=1e-15)
    plane = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]])
    assert task_distance(plane[0], plane[1]).item() == 10


def test_on_a_line_it_is_twice_the_squared_area_between_the_distribution_functions():
    """2 * integral of (F - G)^2 dx (Szekely and Rizzo 2013), with steps at the points."""
    a, b = draw(7), draw(4, seed=1) + 0.5
    knots = torch.cat([a, b]).sort().values
    area = 0.0
    for low, high in itertools.pairwise(knots.tolist()):
        f, g = (sum(float(v <= low) for v in side) / len(side) for side in (a, b))
        area += (f - g) ** 2 * (high - low)
    assert task_distance(a[:, None], b[:, None]).item() == pytest.approx(2 * area, rel=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
def test_it_is_the_mean_over_pairs_written_as_loops(unbiased):
    a, b = draw(5, 3), draw(4, 3, seed=1)

    def mean(u, v, own=False):
        d = [
            float((p - q).square().sum()) ** 0.5 for i, p in enumerate(u) for j, q in enumerate(v) if not own or i != j
        ]
        return sum(d) / len(d)

    expected = 2 * mean(a, b) - mean(a, a, unbiased) - mean(b, b, unbiased)
    assert task_distance(a, b, unbiased=unbiased).item() == pytest.approx(expected, rel=1e-12)


def test_symmetric_zero_for_the_same_set_and_blind_to_the_order_of_classes():
    a, b = draw(40, 8), draw(30, 8, seed=1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    assert task_distance(a, a).item() == 0
    assert abs(task_distance(a, a[order]).item()) < 1e-14
    assert task_distance(a, b) == pytest.approx(task_distance(b, a).item(), rel=1e-14)
    assert task_distance(a[order], b) == pytest.approx(task_distance(a, b).item(), rel=1e-13)
    assert task_distance(a, a.repeat(2, 1)).abs() < 1e-13  # the same points in the same proportions


def test_positive_for_other_sets_even_with_the_same_mean_and_moved_together_it_stays():
    a = draw(20, 4)
    for other in (2 * a, torch.cat([a, a[:1]]), a - a.mean(0)):
        assert task_distance(a, other) > 1e-4
    q, _ = torch.linalg.qr(draw(4, 4, seed=3))
    b = draw(15, 4, seed=1)
    expected = task_distance(a, b)
    torch.testing.assert_close(task_distance(a @ q + 3, b @ q + 3), expected)
    torch.testing.assert_close(task_distance(10 * a, 10 * b), 10 * expected)


def test_its_root_obeys_the_triangle_inequality():
    sets = [draw(n, 2, seed=n) * (1 + n / 5) for n in range(1, 9)]
    for a, b, c in itertools.permutations(sets, 3):
        ab, bc, ac = (task_distance(u, v).sqrt() for u, v in ((a, b), (b, c), (a, c)))
        assert ac <= ab + bc + 1e-12


def test_the_unbiased_one_is_right_on_average_and_the_other_too_high_by_what_the_docstring_says():
    """All 9 samples of two from {0, 1, 5}, against all 8 of three from {0, 4}: every sample equally likely."""
    p, r = (0.0, 1.0, 5.0), (0.0, 4.0)
    wanted = task_distance(points(*p), points(*r)).item()  # of the sources themselves
    pairs = [(points(*a), points(*b)) for a in itertools.product(p, repeat=2) for b in itertools.product(r, repeat=3)]
    free, biased = (sum(task_distance(a, b, unbiased=u).item() for a, b in pairs) / len(pairs) for u in (True, False))
    assert free == pytest.approx(wanted, abs=1e-12)
    inside = [sum(abs(u - v) for u in s for v in s) / len(s) ** 2 for s in (p, r)]  # mean distance of two draws
    assert biased == pytest.approx(wanted + inside[0] / 2 + inside[1] / 3, abs=1e-12)


def test_many_tasks_at_once_and_dtype_and_gradient():
    a, b = draw(2, 3, 5, 4), draw(2, 3, 6, 4, seed=1)
    together = task_distance(a, b)
    alone = torch.stack([torch.stack([task_distance(a[i, j], b[i, j]) for j in range(3)]) for i in range(2)])
    torch.testing.assert_close(together, alone)
    assert task_distance(a.float(), b.float()).dtype == torch.float32
    leaf = a.clone().requires_grad_()
    assert torch.isfinite(torch.autograd.grad(task_distance(leaf, leaf.detach()).sum(), leaf)[0]).all()


@pytest.mark.parametrize(
    ("a", "b", "unbiased", "message"),
    [
        (draw(3, 2), draw(3, 4), False, r"^b: shape \[3, 4\] given; \[..., Nb, D\] is needed, as in a, \[3, 2\]$"),
        (draw(2, 3, 2), draw(3, 2), False, r"^b: shape \[3, 2\] given"),
        (draw(2), draw(2), False, r"^b: shape \[2\] given"),
        (draw(1, 2), draw(3, 2), True, "^a: 1 prototypes given; at least 2 are needed$"),
        (draw(3, 2), draw(0, 2), False, "^b: 0 prototypes given; at least 1 are needed$"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, unbiased, message):
    with pytest.raises(ValueError, match=message):
        task_distance(a, b, unbiased=unbiased)


@pytest.mark.parametrize("source", ["glyphs", "omniglot"])
def test_two_halves_of_a_script_are_nearer_than_two_scripts(source):
    """Prototypes in raw pixels of every script with at least 20 letters; the halves are every second letter.

    Halves are nearer than a third of the mean distance to the other scripts. (Not nearer than each of them: Greek and
    Latin are as like as two halves of ten letters.)
    """
    if source == "omniglot" and find(omniglot.FILES["small1"]) is None:
        pytest.skip("METABOOK_DATA has no Omniglot here")
    parts = [glyphs.load(part) for part in glyphs.PARTS] if source == "glyphs" else [omniglot.load("small1")]
    letters = concatenate(parts)
    halves = {}
    for group, name in enumerate(letters.group_names):
        classes = (letters.groups == group).nonzero()[:, 0].tolist()
        if len(classes) >= 20:
            halves[name] = [prototypes(letters.select(classes[i::2])) for i in (0, 1)]
    assert len(halves) >= 4
    for name, (one, two) in halves.items():
        others = [task_distance(one, first, unbiased=True) for other, (first, _) in halves.items() if other != name]
        assert task_distance(one, two, unbiased=True) < 0.3 * sum(others) / len(others), name


def prototypes(data):
    """The mean image of each class, [N, D]."""
    learner = ProtoNet(Pixels(), Classification(len(data.names)))
    return learner.adapt(Examples(data.images[None].float() / 255, data.labels[None]))[0]
