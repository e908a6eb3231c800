"""Linear regression tasks: shapes, moments, and the noise that the optimum is told."""

import math

import pytest
import torch

from metabook.tasks.linear import LinearRegression
from metabook.tasks.protocol import Tasks


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_device(device):
    tasks = LinearRegression(dim=3, shots=2, queries=5)
    episode = tasks.sample(4, generator(device))
    assert isinstance(tasks, Tasks) and tasks.x_shape == (3,)
    assert episode.support.x.shape == (4, 2, 3) and episode.support.y.shape == (4, 2, 1)
    assert episode.query.x.shape == (4, 5, 3) and episode.query.y.shape == (4, 5, 1)
    assert episode.query.y.device == generator(device).device and episode.query.y.dtype == torch.float32


def test_moments(device):
    """w has variance 1/D, x variance 1, y - w.x variance noise^2, each within 5 standard errors, sqrt(2 / n) of it."""
    tasks, g = LinearRegression(dim=4, noise=0.5), generator(device)
    w = tasks.parameters(20_000, g)
    episode = tasks.episode(w, g)
    for part in episode:
        noise = part.y - (part.x * w.unsqueeze(1)).sum(-1, keepdim=True)
        for values, variance in ((w, 0.25), (part.x, 1.0), (noise, 0.25)):
            n = values.numel()
            assert abs(values.var().item() / variance - 1) < 5 * math.sqrt(2 / n)
            assert abs(values.mean().item()) < 5 * math.sqrt(variance / n)
    assert episode.query.y.var().item() == pytest.approx(1.25, rel=0.02)  # w.x has variance 1


def test_support_and_query_noise_are_independent(device):
    """The same task seen twice: noise of support and query uncorrelated, |r| < 5 / sqrt(n)."""
    tasks, g = LinearRegression(dim=1, shots=1, queries=1, noise=1.0), generator(device)
    w = tasks.parameters(10_000, g)
    episode = tasks.episode(w, g)
    a, b = (part.y.flatten() - part.x.flatten() * w.flatten() for part in episode)
    assert torch.corrcoef(torch.stack([a, b]))[0, 1].abs() < 0.05


def test_same_seed_same_tasks(device):
    a, b, c = (LinearRegression().sample(3, generator(device, s)) for s in (1, 1, 2))
    assert torch.equal(a.query.y, b.query.y) and not torch.equal(a.query.y, c.query.y)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("dim", 0, ValueError),
        ("shots", 0, ValueError),
        ("queries", True, TypeError),
        ("noise", -0.1, ValueError),
        ("noise", 0.0, ValueError),
        ("noise", math.nan, ValueError),
        ("noise", "loud", TypeError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        LinearRegression(**{argument: value})
