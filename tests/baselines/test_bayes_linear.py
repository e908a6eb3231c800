"""Bayesian linear regression: by hand, by conditioning a joint Gaussian, and that nothing beats it."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from metabook.baselines.linear import BayesLinear, Weights
from metabook.episode import Episode, Examples
from metabook.evaluation import Score, evaluate
from metabook.tasks.linear import LinearRegression


def test_by_hand():
    """D = 1, prior 1, noise 1, one example (1, 2): precision 2, mean 1, variance 1/2; at x = 2: mean 2, variance 3."""
    learner = BayesLinear(1, noise=1.0, prior=1.0)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    state = learner.adapt(Examples(one, 2 * one))
    assert state.mean.item() == pytest.approx(1.0) and state.covariance.item() == pytest.approx(0.5)
    prediction = learner.predict(state, 2 * one)
    assert prediction.mean.item() == pytest.approx(2.0) and prediction.variance.item() == pytest.approx(3.0)
    nll = 0.5 * math.log(2 * math.pi * 3) + 1 / 6  # y = 3 is 1 away from the mean: 1 / (2 * 3)
    assert learner.meta_loss(Episode(Examples(one, 2 * one), Examples(2 * one, 3 * one))).item() == pytest.approx(nll)


def test_against_conditioning_of_the_joint_gaussian():
    """Targets of support and query are jointly Gaussian with covariance prior^2 X X^T + noise^2 I: no weights."""
    episode = LinearRegression(dim=3, shots=5, queries=2, noise=0.4).sample(6, torch.Generator().manual_seed(0))
    episode = episode.to(dtype=torch.float64)
    prediction = BayesLinear(3, noise=0.4)(episode)
    for i in range(6):
        for q in range(2):
            x = torch.cat([episode.support.x[i], episode.query.x[i, q : q + 1]])
            c = torch.tensor([[(a @ b).item() / 3 for b in x] for a in x], dtype=torch.float64)
            c += 0.16 * torch.eye(6, dtype=torch.float64)
            weights = torch.linalg.inv(c[:5, :5]) @ c[:5, 5]
            mean, variance = weights @ episode.support.y[i, :, 0], c[5, 5] - weights @ c[:5, 5]
            torch.testing.assert_close(prediction.mean[i, q, 0], mean, atol=1e-9, rtol=0)
            torch.testing.assert_close(prediction.variance[i, q, 0], variance, atol=1e-9, rtol=0)


def test_float32_inputs_give_float32_of_the_exact_answer(device):
    episode = LinearRegression().sample(4, torch.Generator(device=device).manual_seed(0))
    single, double = BayesLinear()(episode), BayesLinear()(episode.to(dtype=torch.float64))
    assert single.mean.dtype == torch.float32 and single.mean.device == episode.query.x.device
    torch.testing.assert_close(single.mean.double(), double.mean, atol=1e-5, rtol=0)


class Altered(BayesLinear):
    """A rival: the same rule with its state or its spread changed."""

    def __init__(self, change=None, widen=1.0, **settings):
        super().__init__(4, **settings)
        self.change, self.widen = change, widen

    def adapt(self, support):
        return super().adapt(support) if self.change is None else self.change(super().adapt(support), support)

    def predict(self, state, query_x):
        p = super().predict(state, query_x)
        return Independent(Normal(p.mean, self.widen * p.stddev), 1)


def least_squares(state, support):
    return Weights(torch.linalg.lstsq(support.x, support.y).solution.squeeze(-1), state.covariance)


def test_no_rival_is_better_on_4000_tasks():
    """Paired differences on the same tasks; nll of every rival is worse, mse too where the mean differs."""
    tasks, optimum = LinearRegression(), BayesLinear()

    def scores(learner):
        return evaluate(learner, tasks, episodes=4000, batch=1000, device="cpu")

    best = scores(optimum)
    rivals = {
        "least squares": Altered(least_squares, noise=0.25),
        "prior too wide": Altered(noise=0.25, prior=2.0),
        "prior too narrow": Altered(noise=0.25, prior=0.3),
        "noise too large": Altered(noise=0.4),
        "noise too small": Altered(noise=0.15),
        "shrunk": Altered(lambda s, _: Weights(0.9 * s.mean, s.covariance), noise=0.25),
        "overconfident": Altered(widen=0.8, noise=0.25),
        "underconfident": Altered(widen=1.25, noise=0.25),
    }
    for name, rival in rivals.items():
        other = scores(rival)
        worse = other["nll"].difference(best["nll"])
        assert worse.mean > worse.interval, name
        if "confident" not in name:
            worse = other["mse"].difference(best["mse"])
            assert worse.mean > worse.interval, name


def test_its_scores_are_the_ones_it_expects():
    """Under the true model mse = mean variance, nll = mean entropy 1/2 log(2 pi e v), and 90 % intervals cover 90 %."""
    episode = LinearRegression().sample(4000, torch.Generator().manual_seed(5))
    learner = BayesLinear()
    prediction = learner(episode)
    scores = learner.likelihood.scores(prediction, episode.query.y)
    v = prediction.variance.squeeze(-1)
    difference = Score(scores["mse"] - v.mean(1))
    assert abs(difference.mean) < 1.6 * difference.interval
    difference = Score(scores["nll"] - (0.5 * torch.log(2 * math.pi * math.e * v)).mean(1))
    assert abs(difference.mean) < 1.6 * difference.interval
    covered = Score(((episode.query.y - prediction.mean).abs() < 1.6449 * prediction.stddev).float().mean((1, 2)))
    assert abs(covered.mean - 0.9) < 1.6 * covered.interval


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [("dim", 0, ValueError), ("noise", -0.1, ValueError), ("noise", None, TypeError), ("prior", 0.0, ValueError)],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        BayesLinear(**{argument: value})
