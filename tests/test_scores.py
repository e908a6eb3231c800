"""Scores by name: single targets and all together, by hand, and with one prediction for several scores."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from metabook.baselines import ExactGP
from metabook.episode import Episode, Examples
from metabook.evaluation import evaluate
from metabook.latent import importance_weighted
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.registry import build
from metabook.scores import SCORES, ScoredBy
from metabook.tasks.gaussian_process import GaussianProcess


class Says(MetaLearner):
    """Predicts what it was given, [B, Q, 1] or [L, B, Q, 1], with standard deviation 1."""

    def __init__(self, mean):
        super().__init__(Regression())
        self.mean, self.calls = torch.tensor(mean, dtype=torch.float64), []

    def adapt(self, support):
        return support.y

    def predict(self, state, query_x):
        self.calls.append(1)
        return Independent(Normal(self.mean, 1.0), 1)

    def meta_loss(self, batch):
        raise AssertionError


def episode(y):
    y = torch.tensor(y, dtype=torch.float64).view(1, -1, 1)
    return Episode(Examples(y[:, :1], y[:, :1]), Examples(y, y))


def score(name, learner, batch):
    return ScoredBy(GaussianProcess(), [name]).score(learner, batch)[name]


def density(x):
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def test_single_targets_and_the_joint_by_hand():
    """Two functions, (0, 0) and (1, 1), targets (0, 1). Single: each target has density (d(0) + d(1)) / 2. Joint: both

    functions give d(0) d(1), and so does their mean. Per target: log of the first, half the log of the second.
    """
    learner, batch = Says([[[[0.0], [0.0]]], [[[1.0], [1.0]]]]), episode([0.0, 1.0])
    single = math.log((density(0) + density(1)) / 2)
    assert score("log-likelihood", learner, batch).tolist() == pytest.approx([single])
    joint = 0.5 * math.log(density(0) * density(1))
    assert score("joint log-likelihood", learner, batch).tolist() == pytest.approx([joint])
    assert single > joint + 0.01


def test_without_latent_samples_both_are_the_mean_over_targets():
    learner, batch = Says([[[0.0], [2.0]]]), episode([0.0, 1.0])
    by_hand = 0.5 * (math.log(density(0)) + math.log(density(1)))
    for name in ("log-likelihood", "joint log-likelihood"):
        assert score(name, learner, batch).tolist() == pytest.approx([by_hand])


def test_the_joint_of_a_latent_learner_is_its_importance_weighted_bound():
    tasks = GaussianProcess(shots=3, queries=5)
    learner, batch = (
        build("neural-process", tasks, width=8, latent=2),
        tasks.sample(4, torch.Generator().manual_seed(0)),
    )
    assert torch.equal(score("joint log-likelihood", learner, batch), importance_weighted(learner, batch) / 5)


def test_the_joint_of_an_exact_posterior_is_its_own():
    tasks = GaussianProcess(shots=3, queries=5)
    batch = tasks.sample(4, torch.Generator().manual_seed(0))
    assert torch.equal(score("joint log-likelihood", ExactGP(), batch), ExactGP().joint(batch) / 5)


def test_one_prediction_serves_all_scores_and_the_tasks_are_the_same():
    tasks, learner = GaussianProcess(queries=2), Says([[[0.0], [0.0]]])
    scores = evaluate(learner, ScoredBy(tasks, list(SCORES)), episodes=3, batch=1, device="cpu")
    assert list(scores) == list(SCORES) and len(learner.calls) == 3
    own = evaluate(learner, tasks, episodes=3, batch=1, device="cpu")
    assert scores["log-likelihood"].mean == pytest.approx(-own["nll"].mean)


def test_wrong_names_are_named():
    with pytest.raises(ValueError, match="score: 'covrage' given; allowed are log-likelihood"):
        ScoredBy(GaussianProcess(), ["covrage"])
    with pytest.raises(ValueError, match="names: none given"):
        ScoredBy(GaussianProcess(), [])
