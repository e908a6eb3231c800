"""Functions of several families: each by hand, how often each is drawn and from which ranges, and the noise."""

import math

import pytest
import torch

from metabook.checks import check_episode
from metabook.functions import FAMILIES, RANGES
from metabook.registry import make_tasks
from metabook.tasks import FunctionFamilies, Tasks
from metabook.tasks.function_families import Member


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_device(device):
    tasks = FunctionFamilies(shots=3, queries=7)
    episode = check_episode(tasks.sample(6, generator(device)), tasks.likelihood, tasks.x_shape)
    assert isinstance(tasks, Tasks) and tasks.x_shape == (1,)
    assert [tuple(t.shape) for part in episode for t in part] == [(6, 3, 1), (6, 3, 1), (6, 7, 1), (6, 7, 1)]
    assert episode.query.x.device == generator(device).device


def test_curves_by_hand(device):
    """a = 2, c = 1, b = 3 at x = -1, so z = -2: 2 sin(-2) + 3; 2 (-2) + 3 = -1; 2 * 4 + 3 = 11; 2 * 2 + 3 = 7; tanh."""
    ones = torch.ones(5, device=device)
    functions = Member(torch.arange(5, device=device), 2 * ones, ones, 3 * ones)
    y = FunctionFamilies().curve(functions, torch.full((5, 1, 1), -1.0, device=device)).flatten().tolist()
    assert y == pytest.approx([3 - 2 * math.sin(2), -1, 11, 7, 3 - 2 * math.tanh(2)], abs=1e-6)


@pytest.mark.parametrize("modes", [2, 3, 5])
def test_the_first_families_are_equally_likely(modes, device):
    """Counts of 6000 draws to 5 standard deviations."""
    n, p = 6000, 1 / modes
    family = FunctionFamilies(modes=modes).parameters(n, generator(device)).family
    counts = torch.bincount(family, minlength=5)
    assert (counts[modes:] == 0).all()
    assert (counts[:modes] - n * p).abs().max() < 5 * math.sqrt(n * p * (1 - p))


def test_parameters_fill_their_ranges(device):
    """Of about 4000 draws the extremes are within 1 % of the ends of a range, and the middle is the mean."""
    family, a, c, b = FunctionFamilies().parameters(20_000, generator(device))
    for i, name in enumerate(FAMILIES):
        mine = family == i
        for value, (low, high) in zip((a.abs(), c, b), RANGES[i], strict=True):
            drawn, margin = value[mine], 0.01 * (high - low)
            assert low - 1e-6 <= drawn.min() <= low + margin and high - margin <= drawn.max() <= high + 1e-6, name
            assert abs(drawn.mean().item() - (low + high) / 2) <= 5 * (high - low) / math.sqrt(12 * len(drawn)) + 1e-6
        minus = (a[mine] < 0).float().mean().item()
        assert minus == 0 if name == "sinusoid" else abs(minus - 0.5) < 5 * 0.5 / math.sqrt(int(mine.sum())), name


def test_sizes_of_the_authors_code():
    """Amplitude 0.1 to 5 and phase 0 to pi, lines and offsets 3 to both sides, parabolas 0.02 to 0.15."""
    assert RANGES[0] == ((0.1, 5.0), (0.0, math.pi), (0.0, 0.0))
    assert RANGES[1][1] == (0.0, 0.0) and RANGES[2][0] == (0.02, 0.15)
    assert all(ranges[2] == (-3.0, 3.0) for ranges in RANGES[1:])


def test_noise_is_added_to_support_and_query(device):
    """Residual variance 0.3^2 to 5 standard errors, 0.09 sqrt(2 / n)."""
    tasks = FunctionFamilies(shots=10, queries=10)
    functions = tasks.parameters(1000, generator(device))
    for part in tasks.episode(functions, generator(device, 1)):
        noise = part.y - tasks.curve(functions, part.x)
        assert abs(noise.var().item() - 0.09) < 5 * 0.09 * math.sqrt(2 / noise.numel())


def test_without_noise_the_targets_are_the_curve(device):
    tasks = FunctionFamilies(noise=0.0)
    functions = tasks.parameters(50, generator(device))
    for part in tasks.episode(functions, generator(device, 1)):
        assert torch.equal(part.y, tasks.curve(functions, part.x))


def test_every_part_is_drawn_from_the_same_distribution():
    assert {make_tasks("function-families", part=p, modes=3).modes for p in ("train", "validation", "test")} == {3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": 0}, "modes: 0 given; at least 1"),
        ({"modes": 6}, "modes: 6 given; 1 to 5 are allowed"),
        ({"noise": -0.1}, "noise: -0.1 given; a finite number of at least 0"),
        ({"x_range": (2.0, 1.0)}, r"x_range: \(2.0, 1.0\) given"),
        ({"shots": 0}, "shots: 0 given; at least 1"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        FunctionFamilies(**options)
