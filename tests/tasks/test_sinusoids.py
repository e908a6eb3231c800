"""Sinusoids: values by hand, the published ranges, and that every task really is one wave."""

import math

import pytest
import torch

from metabook.episode import Examples
from metabook.tasks.protocol import Tasks
from metabook.tasks.sinusoids import Sinusoid, Sinusoids


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_curve_by_hand():
    """2 sin(2 pi/3 - pi/6) = 2 sin(pi/2) = 2; with frequency 2, 3 sin(2 pi/3 - pi/6) = 3."""
    waves = Sinusoid(torch.tensor([2.0, 3.0]), torch.tensor([math.pi / 6] * 2), torch.tensor([1.0, 2.0]))
    x = torch.tensor([2 * math.pi / 3, math.pi / 3]).view(2, 1, 1)
    torch.testing.assert_close(Sinusoids().curve(waves, x).flatten(), torch.tensor([2.0, 3.0]))


def test_shapes_and_device(device):
    tasks = Sinusoids(shots=3, queries=7)
    episode = tasks.sample(4, generator(device))
    assert isinstance(tasks, Tasks) and tasks.x_shape == (1,)
    for part, s in ((episode.support, 3), (episode.query, 7)):
        assert part.x.shape == part.y.shape == (4, s, 1)
        assert part.x.device == part.y.device == generator(device).device and part.x.dtype == torch.float32


def test_support_determines_the_wave_and_the_wave_gives_the_query(device):
    """y = A sin(x - p) = A cos p sin x - A sin p cos x: two unknowns, solved from the support set by least squares.

    Amplitude and phase recovered that way lie in the published ranges, and predict every query.
    """
    episode = Sinusoids(shots=10).sample(500, generator(device)).to("cpu", torch.float64)
    features = [torch.cat([part.x.sin(), part.x.cos()], -1) for part in episode]
    solution = torch.linalg.lstsq(features[0], episode.support.y).solution
    torch.testing.assert_close(features[1] @ solution, episode.query.y, atol=1e-4, rtol=0)
    amplitude, phase = solution.norm(dim=1), torch.atan2(-solution[:, 1], solution[:, 0])
    assert amplitude.min() > 0.1 - 1e-4 and amplitude.max() < 5 + 1e-4
    assert phase.min() > -1e-3 and phase.max() < math.pi + 1e-3


def test_ranges_and_means(device):
    """Means of uniform draws within 5 standard errors, (high - low) / sqrt(12 n); the ends are nearly reached."""
    tasks, n = Sinusoids(frequency=(0.5, 2.0)), 20_000
    waves = tasks.parameters(n, generator(device))
    x = tasks.sample(1000, generator(device)).query.x[:, :, 0].flatten()
    bounds = [(0.1, 5.0), (0.0, math.pi), (0.5, 2.0), (-5.0, 5.0)]
    for values, (low, high) in zip([*waves, x], bounds, strict=True):
        width = high - low
        assert abs(values.mean().item() - (low + high) / 2) < 5 * width / math.sqrt(12 * len(values))
        assert low <= values.min() < low + 0.01 * width and high - 0.01 * width < values.max() <= high
    assert torch.corrcoef(torch.stack(list(waves)))[0, 1].abs() < 5 / math.sqrt(n)
    assert torch.equal(Sinusoids().parameters(5, generator(device)).frequency, torch.ones(5, device=device))


def test_same_seed_same_tasks_and_every_example_is_new(device):
    tasks = Sinusoids()
    a, b, c = (tasks.sample(6, generator(device, s)) for s in (3, 3, 4))
    assert torch.equal(a.query.y, b.query.y) and not torch.equal(a.query.y, c.query.y)
    x = torch.cat([a.support.x, a.query.x], 1).flatten()
    assert len(x.unique()) == len(x)


def test_episode_of_given_parameters(device):
    """Two episodes of the same waves: other inputs, the same curve."""
    tasks, g = Sinusoids(), generator(device)
    waves = tasks.parameters(3, g)
    a, b = tasks.episode(waves, g), tasks.episode(waves, g)
    assert not torch.equal(a.support.x, b.support.x)
    for part in (a.support, b.query):
        assert isinstance(part, Examples)
        torch.testing.assert_close(tasks.curve(waves, part.x), part.y)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("shots", 0, ValueError),
        ("queries", -1, ValueError),
        ("shots", 1.5, TypeError),
        ("amplitude", (5.0, 0.1), ValueError),
        ("phase", (0.0, math.inf), ValueError),
        ("x_range", (1.0,), ValueError),
        ("frequency", "fast", ValueError),
        ("frequency", (1.0, None), ValueError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        Sinusoids(**{argument: value})


def test_no_tasks_is_an_error():
    with pytest.raises(ValueError, match=r"^n: 0 given"):
        Sinusoids().sample(0, generator("cpu"))
