"""Gaussian-process draws: their covariance, their noise, and the number of context points."""

import math

import pytest
import torch

from metabook.tasks.gaussian_process import GaussianProcess
from metabook.tasks.protocol import Tasks


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def slow_kernel(kernel, r, scale):
    """One covariance, written out once more with the standard library."""
    if kernel == "rbf":
        return math.exp(-(r**2) / (2 * scale**2))
    if kernel == "matern52":
        return (1 + math.sqrt(5) * r / scale + 5 * r**2 / (3 * scale**2)) * math.exp(-math.sqrt(5) * r / scale)
    return math.exp(-2 * math.sin(math.pi * r) ** 2 / scale**2)


def test_shapes_and_device(device):
    tasks = GaussianProcess(shots=3, queries=7)
    episode = tasks.sample(4, generator(device))
    assert isinstance(tasks, Tasks) and tasks.x_shape == (1,)
    for part, s in ((episode.support, 3), (episode.query, 7)):
        assert part.x.shape == part.y.shape == (4, s, 1)
        assert part.y.device == generator(device).device and part.y.dtype == torch.float32


@pytest.mark.parametrize("kernel", ["rbf", "matern52", "periodic"])
def test_draws_have_the_covariance_of_the_kernel(kernel, device):
    """If y ~ N(0, C) with n points, y^T C^-1 y is chi-square: mean n, variance 2 n. C is built here by loops.

    400 tasks of 12 points: mean 12 within 5 sqrt(24 / 400) = 1.2. With C of twice the length-scale it is far off.
    """
    tasks = GaussianProcess(shots=4, queries=8, length_scale=(0.3, 0.9), noise=0.2, kernel=kernel)
    g = generator(device)
    scales = tasks.parameters(400, g)
    episode = tasks.episode(scales, g).to("cpu", torch.float64)
    x = torch.cat([part.x for part in episode], 1).squeeze(-1)
    y = torch.cat([part.y for part in episode], 1)

    def mean_chi_square(factor):
        total = 0.0
        for i, scale in enumerate(scales.tolist()):
            rows = [[slow_kernel(kernel, abs(a - b), factor * scale) for b in x[i].tolist()] for a in x[i].tolist()]
            c = torch.tensor(rows, dtype=torch.float64) + 0.04 * torch.eye(12, dtype=torch.float64)
            total += (y[i].T @ torch.linalg.inv(c) @ y[i]).item()
        return total / 400

    assert abs(mean_chi_square(1.0) - 12) < 1.2
    assert abs(mean_chi_square(2.0) - 12) > 3.0


def test_function_and_noise_apart(device):
    """All x equal: two targets share f (variance 1) and differ by noise (variance 0.25 each)."""
    tasks = GaussianProcess(shots=1, queries=1, noise=0.5, x_range=(0.5, 0.5))
    episode = tasks.sample(20_000, generator(device))
    a, b = (part.y.flatten() for part in episode)
    assert a.var().item() == pytest.approx(1.25, rel=0.05)
    assert (a - b).var().item() == pytest.approx(0.5, rel=0.05)
    assert abs(a.mean().item()) < 5 * math.sqrt(1.25 / 20_000)


def test_length_scales_are_uniform_or_fixed(device):
    """Mean of 20,000 draws from [0.25, 1] is 0.625 within 5 standard errors, 0.75 / sqrt(12 n)."""
    scales = GaussianProcess().parameters(20_000, generator(device))
    assert abs(scales.mean().item() - 0.625) < 5 * 0.75 / math.sqrt(12 * 20_000)
    assert 0.25 <= scales.min() < 0.26 and 0.99 < scales.max() <= 1.0
    fixed = GaussianProcess(length_scale=0.5).parameters(3, generator(device))
    assert fixed.tolist() == [0.5, 0.5, 0.5]


def test_told_the_length_scale_stands_beside_the_inputs_and_nothing_else_changes(device):
    plain, told = GaussianProcess(shots=(2, 5)), GaussianProcess(shots=(2, 5), told=True)
    scales = plain.parameters(3, generator(device))
    episodes = [tasks.sample(3, generator(device)) for tasks in (plain, told)]
    assert told.x_shape == (2,) and plain.x_shape == (1,)
    for a, b in zip(*episodes, strict=True):
        assert torch.equal(a.x, b.x[..., :1]) and torch.equal(a.y, b.y)
        assert torch.equal(b.x[..., 1], scales.unsqueeze(1).expand(b.x.shape[:2]))


def test_a_range_moved_is_the_same_tasks_moved(device):
    """The same draws: inputs differ by 4 and targets by what the rounding of inputs does to the covariance."""
    here, there = (
        GaussianProcess(x_range=(low, low + 4.0), noise=0.1).sample(3, generator(device)) for low in (-2.0, 2.0)
    )
    torch.testing.assert_close(there.query.x, here.query.x + 4, rtol=0, atol=1e-5)
    torch.testing.assert_close(there.query.y, here.query.y, rtol=0, atol=1e-3)


def test_number_of_context_points_is_drawn_for_each_batch(device):
    """600 batches over 3..6: each number expected 150 times, standard deviation 10.6; within 5 of them."""
    tasks, g = GaussianProcess(shots=(3, 6), queries=2), generator(device)
    episodes = [tasks.sample(2, g) for _ in range(600)]
    counts = torch.bincount(torch.tensor([e.support.x.shape[1] for e in episodes]), minlength=7)
    assert counts[:3].sum() == 0 and len(counts) == 7
    assert (counts[3:] - 150).abs().max() < 53
    assert all(e.query.x.shape == (2, 2, 1) for e in episodes)


def test_close_points_with_hardly_any_noise_still_factorise(device):
    tasks = GaussianProcess(noise=1e-9, queries=100, x_range=(0.0, 0.1), length_scale=1.0)
    episode = tasks.sample(4, generator(device))
    assert torch.isfinite(episode.query.y).all()


def test_same_seed_same_tasks(device):
    tasks = GaussianProcess(shots=(3, 30))
    a, b, c = (tasks.sample(3, generator(device, s)) for s in (1, 1, 2))
    assert torch.equal(a.support.y, b.support.y) and torch.equal(a.query.y, b.query.y)
    assert not torch.equal(a.query.y, c.query.y)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("shots", 0, ValueError),
        ("shots", (0, 3), ValueError),
        ("shots", (30, 3), ValueError),
        ("shots", (3,), ValueError),
        ("shots", (3.0, 4), TypeError),
        ("queries", 0, ValueError),
        ("length_scale", 0.0, ValueError),
        ("length_scale", (1.0, 0.5), ValueError),
        ("length_scale", (-1.0, 0.5), ValueError),
        ("noise", -0.05, ValueError),
        ("kernel", "linear", ValueError),
        ("x_range", (2.0, -2.0), ValueError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        GaussianProcess(**{argument: value})
