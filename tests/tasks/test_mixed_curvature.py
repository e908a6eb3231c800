"""Mixed-curvature tasks: their curvatures, their noise, and the optimum of someone who knows the units."""

import math

import pytest
import torch

from metabook.baselines import BayesLinear
from metabook.tasks.mixed_curvature import MixedCurvature
from metabook.tasks.protocol import Tasks


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_device(device):
    tasks = MixedCurvature(dim=3, shots=2, queries=5)
    episode = tasks.sample(4, generator(device))
    assert isinstance(tasks, Tasks) and tasks.x_shape == (3,)
    assert episode.support.x.shape == (4, 2, 3) and episode.support.y.shape == (4, 2, 1)
    assert episode.query.x.shape == (4, 5, 3) and episode.query.y.shape == (4, 5, 1)
    assert episode.query.y.device == generator(device).device and episode.query.y.dtype == torch.float32


def test_every_task_has_one_steep_axis_and_one_scale(device):
    """sigma is five times larger on the steep axis, so sigma^2 has the ratio 25. The logarithm of the scale is uniform
    on [-log(10) / 2, log(10) / 2]: mean 0, variance log(10)^2 / 12. Each axis is the steep one in a quarter of them."""
    ends = (1 / math.sqrt(10), math.sqrt(10))
    sigma = MixedCurvature(scale=ends, condition=25.0).parameters(20_000, generator(device)).sigma
    steep, axis = sigma.max(1)
    assert ((sigma / steep[:, None] - 0.2).abs() < 1e-6).sum(1).eq(3).all()
    log_scale = (steep / 5).log()
    assert log_scale.mean().abs() < 5 * math.log(10) / math.sqrt(12 * 20_000)
    assert log_scale.var().item() == pytest.approx(math.log(10) ** 2 / 12, rel=0.03)
    assert log_scale.min() >= math.log(ends[0]) - 1e-5 and log_scale.max() <= math.log(ends[1]) + 1e-5
    assert ((torch.bincount(axis, minlength=4) / 20_000 - 0.25).abs() < 5 * math.sqrt(0.1875 / 20_000)).all()


def test_moments(device):
    """x_d / sigma_d has variance 1, y - w.(x / sigma) variance noise^2, y variance 1 + noise^2, whatever sigma."""
    tasks, g = MixedCurvature(noise=0.5), generator(device)
    bowl = tasks.parameters(20_000, g)
    for part in tasks.episode(bowl, g):
        z = part.x / bowl.sigma.unsqueeze(1)
        noise = part.y - (z * bowl.weights.unsqueeze(1)).sum(-1, keepdim=True)
        for values, variance in ((z, 1.0), (noise, 0.25)):
            assert abs(values.var().item() / variance - 1) < 5 * math.sqrt(2 / values.numel())
        assert part.y.var().item() == pytest.approx(1.25, rel=0.03)


def test_whitened_tasks_are_the_same_tasks_in_other_units(device):
    raw, white = (MixedCurvature(whitened=w).sample(5, generator(device, 3)) for w in (False, True))
    sigma = MixedCurvature().parameters(5, generator(device, 3)).sigma.unsqueeze(1)
    for a, b in zip(raw, white, strict=True):
        assert torch.equal(a.y, b.y)
        torch.testing.assert_close(a.x / sigma, b.x)


def test_the_optimum_is_ridge_regression_with_the_tasks_own_units():
    """With u = w / sigma the prior of u_d is N(0, 1 / (4 sigma_d^2)): its posterior mean, for raw inputs."""
    tasks = MixedCurvature(noise=0.5)
    raw, white = (MixedCurvature(noise=0.5, whitened=w).sample(3, generator("cpu")) for w in (False, True))
    sigma = tasks.parameters(3, generator("cpu")).sigma.double()
    prediction = BayesLinear(4, noise=0.5)(white.to(dtype=torch.float64)).mean
    for b in range(3):
        x, y = raw.support.x[b].double(), raw.support.y[b].double()
        u = torch.linalg.solve(x.T @ x / 0.25 + torch.diag(4 * sigma[b] ** 2), x.T @ y / 0.25)
        torch.testing.assert_close(raw.query.x[b].double() @ u, prediction[b], rtol=1e-5, atol=1e-6)


def test_same_seed_same_tasks(device):
    a, b, c = (MixedCurvature().sample(3, generator(device, s)) for s in (1, 1, 2))
    assert torch.equal(a.query.y, b.query.y) and not torch.equal(a.query.y, c.query.y)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("dim", 0, ValueError),
        ("shots", 0, ValueError),
        ("queries", True, TypeError),
        ("noise", 0.0, ValueError),
        ("scale", (0.0, 1.0), ValueError),
        ("scale", (2.0, 1.0), ValueError),
        ("condition", 0.5, ValueError),
        ("condition", "steep", TypeError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        MixedCurvature(**{argument: value})
