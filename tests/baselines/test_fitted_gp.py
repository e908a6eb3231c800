"""A Gaussian process with a fitted length-scale: by hand, against a fine grid, its limit, and below the optimum."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from metabook.baselines import ExactGP, FittedGP
from metabook.episode import Examples
from metabook.evaluation import evaluate
from metabook.tasks.gaussian_process import GaussianProcess


def test_two_points_by_hand():
    """Inputs 0 and 1, noise 0.1, so V = 1.01 is the variance of a target. With k = exp(-1 / 2 l^2) their sum over

    sqrt 2 has variance V + k, their difference over sqrt 2 V - k. Targets for which the squares of both *are* these
    variances at l = 0.6 make that l likeliest: each of the two is as likely as it can be.
    """
    v, k = 1.01, math.exp(-1 / (2 * 0.6**2))
    u, d = math.sqrt(v + k), math.sqrt(v - k)
    y = torch.tensor([(u + d) / math.sqrt(2), (u - d) / math.sqrt(2)], dtype=torch.float64).view(1, 2, 1)
    x = torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 2, 1)
    state = FittedGP(noise=0.1).adapt(Examples(x, y))
    assert state.length_scale.item() == pytest.approx(0.6, rel=1e-4)
    expected = -0.5 * (1 + math.log(2 * math.pi * (v + k)) + 1 + math.log(2 * math.pi * (v - k)))
    assert state.evidence.item() == pytest.approx(expected, rel=1e-6)


def log_density(x, y, scale, noise):
    rows = [[math.exp(-((a - b) ** 2) / (2 * scale**2)) for b in x.tolist()] for a in x.tolist()]
    c = torch.tensor(rows, dtype=torch.float64) + noise**2 * torch.eye(len(x), dtype=torch.float64)
    return MultivariateNormal(torch.zeros(len(x), dtype=torch.float64), c).log_prob(y)


def test_no_length_scale_of_a_fine_grid_is_likelier_and_the_joint_is_that_of_the_fit():
    episode = GaussianProcess(shots=8, queries=3, noise=0.1).sample(3, torch.Generator().manual_seed(0))
    episode = episode.to(dtype=torch.float64)
    learner = FittedGP(noise=0.1)
    state, joint = learner.adapt(episode.support), learner.joint(episode)
    for i in range(3):
        x, y = episode.support.x[i, :, 0], episode.support.y[i, :, 0]
        grid = [0.25 * 4 ** (j / 300) for j in range(301)]
        assert state.evidence[i, 0] > max(log_density(x, y, s, 0.1) for s in grid) - 1e-6
        fit = state.length_scale[i].item()
        assert state.evidence[i, 0].item() == pytest.approx(log_density(x, y, fit, 0.1).item(), abs=1e-6)
        xs, ys = (torch.cat([part[i, :, 0] for part in parts]) for parts in zip(*episode, strict=True))
        expected = log_density(xs, ys, fit, 0.1) - log_density(x, y, fit, 0.1)
        assert joint[i].item() == pytest.approx(expected.item(), abs=1e-6)


def test_with_nothing_to_choose_it_is_the_exact_posterior():
    episode = GaussianProcess(shots=5, length_scale=0.5).sample(4, torch.Generator().manual_seed(1))
    fitted, exact = FittedGP(length_scale=(0.5, 0.5))(episode), ExactGP(length_scale=0.5)(episode)
    torch.testing.assert_close(fitted.mean, exact.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(fitted.variance, exact.variance, rtol=1e-6, atol=1e-6)


def test_a_fit_is_below_the_average_over_length_scales():
    """Paired on 400 tasks of five points, where little is known of the length-scale."""
    tasks = GaussianProcess(shots=5, queries=20)
    fit, average = (evaluate(learner, tasks, episodes=400, device="cpu")["nll"] for learner in (FittedGP(), ExactGP()))
    worse = fit.difference(average)
    assert worse.mean > worse.interval


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("length_scale", (0.0, 1.0), ValueError),
        ("length_scale", (1.0, 0.5), ValueError),
        ("noise", 0.0, ValueError),
        ("kernel", "cosine", ValueError),
        ("points", 2, ValueError),
        ("zooms", 0, ValueError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        FittedGP(**{argument: value})
