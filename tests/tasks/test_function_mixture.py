"""The mixture of functions: each by hand, how often each is drawn and from which ranges, and the unit that each is."""

import math

import pytest
import torch

from metabook.checks import check_episode
from metabook.nn.operations import UNITS
from metabook.registry import make_tasks
from metabook.tasks import FunctionMixture, Tasks
from metabook.tasks.function_mixture import FAMILIES, RANGES, UNIT, MixtureMember


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_device(device):
    tasks = FunctionMixture(shots=3, queries=7)
    episode = check_episode(tasks.sample(6, generator(device)), tasks.likelihood, tasks.x_shape)
    assert isinstance(tasks, Tasks) and tasks.x_shape == (1,)
    assert [tuple(t.shape) for part in episode for t in part] == [(6, 3, 1), (6, 3, 1), (6, 7, 1), (6, 7, 1)]
    assert episode.query.x.device == generator(device).device


def test_curves_by_hand(device):
    """a = 2, w = -1, c = 1, b = 3 at x = -1, so z = 2: 2 * 2 + 3; 2 * 4 + 3; 2 sin 2 + 3; 2 * 2 + 3; 2 + 3."""
    ones = torch.ones(5, device=device)
    functions = MixtureMember(torch.arange(5, device=device), 2 * ones, -ones, ones, 3 * ones)
    y = FunctionMixture().curve(functions, torch.full((5, 1, 1), -1.0, device=device)).flatten().tolist()
    assert y == pytest.approx([7, 11, 3 + 2 * math.sin(2), 7, 5], abs=1e-6)
    other = FunctionMixture().curve(functions, torch.full((5, 1, 1), 2.0, device=device)).flatten().tolist()  # z = -1
    assert other == pytest.approx([1, 5, 3 - 2 * math.sin(1), 3, 1], abs=1e-6)


@pytest.mark.parametrize("families", [2, 5])
def test_the_first_families_are_equally_likely(families, device):
    """Counts of 6000 draws to 5 standard deviations."""
    n, p = 6000, 1 / families
    counts = torch.bincount(FunctionMixture(families=families).parameters(n, generator(device)).family, minlength=5)
    assert (counts[families:] == 0).all()
    assert (counts[:families] - n * p).abs().max() < 5 * math.sqrt(n * p * (1 - p))


def test_only_one_family(device):
    tasks = FunctionMixture(only="sine")
    assert tasks.parameters(100, generator(device)).family.tolist() == [2] * 100
    mixed = FunctionMixture().parameters(100, generator(device))
    same = tasks.parameters(100, generator(device))  # the draws of the family are made all the same
    assert torch.equal(same.a[mixed.family == 2], mixed.a[mixed.family == 2])


def test_parameters_fill_their_ranges(device):
    """Of about 4000 draws the extremes are within 1 % of the ends of a range; signs are even where there are two."""
    family, a, w, c, b = FunctionMixture().parameters(20_000, generator(device))
    for i, name in enumerate(FAMILIES):
        mine = family == i
        for value, (low, high) in zip((a.abs(), w.abs(), c, b), RANGES[i], strict=True):
            drawn, margin = value[mine], 0.01 * (high - low)
            assert low - 1e-6 <= drawn.min() <= low + margin and high - margin <= drawn.max() <= high + 1e-6, name
        for value, both in ((a, True), (w, name == "hinge")):
            minus = (value[mine] < 0).float().mean().item()
            assert abs(minus - 0.5) < 0.04 if both else minus == 0, name


def test_the_unit_of_a_family_is_it_exactly(device):
    """One unit of the named kind, a g(w x - w c) + b, is the function; of a line the unit has w = 1 and c = 0.

    The step only where |x - c| is far above the width of the steep unit: tanh(10 * 0.5) is 1 - 9e-5.
    """
    tasks = FunctionMixture()
    p = tasks.parameters(500, generator(device))
    x = torch.linspace(-5, 5, 41, device=device).expand(500, -1).unsqueeze(2)
    y = tasks.curve(p, x)
    a, w, c, b = (v.view(-1, 1, 1) for v in p[1:])
    for i, unit in enumerate(UNIT):
        mine = p.family == i
        error = (a * UNITS[unit](w * (x - c)) + b - y)[mine].abs()
        if FAMILIES[i] == "step":
            error = error[((x - c)[mine]).abs() > 0.5]
        assert error.max() < 1e-3, FAMILIES[i]
    assert (y - tasks.curve(p._replace(family=(p.family + 1) % 5), x)).abs().mean() > 0.1


def test_noise_is_added_to_support_and_query(device):
    """Residual variance 0.3^2 to 5 standard errors, 0.09 sqrt(2 / n); without noise the targets are the curve."""
    for noise in (0.3, 0.0):
        tasks = FunctionMixture(noise=noise)
        functions = tasks.parameters(1000, generator(device))
        for part in tasks.episode(functions, generator(device, 1)):
            rest = part.y - tasks.curve(functions, part.x)
            assert abs(rest.square().mean().item() - noise**2) <= 5 * noise**2 * math.sqrt(2 / rest.numel())


def test_queries_may_lie_elsewhere(device):
    episode = FunctionMixture(query_range=(5.0, 7.0), queries=50).sample(100, generator(device))
    assert -5 <= episode.support.x.min() < -4.9 and 4.9 < episode.support.x.max() <= 5
    assert 5 <= episode.query.x.min() < 5.01 and 6.99 < episode.query.x.max() <= 7


def test_the_generator_decides():
    tasks = make_tasks("function-mixture", part="validation")
    a, b = (tasks.sample(4, generator("cpu", 3)) for _ in range(2))
    assert all(torch.equal(s, t) for p, q in zip(a, b, strict=True) for s, t in zip(p, q, strict=True))
    assert not torch.equal(a.support.x, tasks.sample(4, generator("cpu", 4)).support.x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"families": 6}, "families: 6 given; 1 to 5 are allowed"),
        ({"families": 0}, "families: 0 given; at least 1"),
        ({"families": 2, "only": "sine"}, "only: 'sine' given; allowed are linear, quadratic"),
        ({"noise": -0.1}, "noise: -0.1 given; a finite number of at least 0"),
        ({"x_range": (2.0, 1.0)}, r"x_range: \(2.0, 1.0\) given"),
        ({"query_range": (2.0, 1.0)}, r"query_range: \(2.0, 1.0\) given"),
        ({"shots": 0}, "shots: 0 given; at least 1"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        FunctionMixture(**options)
