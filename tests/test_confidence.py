"""Calibration on many tasks: by hand, against the pooled definition, and of learners whose honesty is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from metabook.baselines import BayesClusters, ExactGP
from metabook.calibration import reliability
from metabook.confidence import answers, calibration_error, confidence
from metabook.evaluation import evaluate
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Regression
from metabook.tasks.clusters import Clusters
from metabook.tasks.gaussian_process import GaussianProcess

CLUSTERS = Clusters(way=3, queries=10)
WAVES = GaussianProcess(shots=5, queries=20, length_scale=0.5)


class Bolder(MetaLearner):
    """An optimum that says it too strongly: logits times ``by``, or standard deviations divided by it."""

    def __init__(self, optimum, by):
        super().__init__(optimum.likelihood)
        self.optimum, self.by = optimum, by

    def adapt(self, support):
        return self.optimum.adapt(support)

    def predict(self, state, query_x):
        prediction = self.optimum.predict(state, query_x)
        if isinstance(prediction, Categorical):
            return Categorical(logits=prediction.logits * self.by)
        return Independent(Normal(prediction.mean, prediction.variance.sqrt() / self.by), 1)

    def meta_loss(self, batch):
        return self.optimum.meta_loss(batch)


class Ignorant(Bolder):
    """The base rate: every class alike."""

    def predict(self, state, query_x):
        return Categorical(logits=torch.zeros(*query_x.shape[:2], self.likelihood.size))


def test_the_error_of_two_tasks_by_hand():
    """One bin: (right - confidence) are 1 - 0.8 and 0 - 0.6, mean -0.2: error 0.2, with the values -(0.2) and 0.6."""
    probs = torch.tensor([[[0.8, 0.2]], [[0.6, 0.4]]], dtype=torch.float64)
    score = calibration_error(probs.log(), torch.tensor([[0], [1]]), bins=1)
    assert score.values.tolist() == pytest.approx([-0.2, 0.6]) and score.mean == pytest.approx(0.2)


def test_a_bin_includes_its_upper_end():
    """Confidence 0.5, right, in (0, 1/2]; 0.6, wrong, in (1/2, 1]: (0.5 + 0.6) / 2. In one bin they would cancel."""
    probs = torch.tensor([[[0.5, 0.5]], [[0.6, 0.4]]], dtype=torch.float64)
    assert calibration_error(probs.log(), torch.tensor([[0], [1]]), bins=2).mean == pytest.approx(0.55)


def test_the_mean_of_its_values_is_the_error_of_all_predictions_together():
    g = torch.Generator().manual_seed(0)
    log_probs = (2 * torch.randn(50, 7, 4, generator=g, dtype=torch.float64)).log_softmax(-1)
    y = torch.randint(0, 4, (50, 7), generator=g)
    pooled = reliability(log_probs.flatten(0, 1).exp(), y.flatten()).error
    assert calibration_error(log_probs, y).mean == pytest.approx(pooled, abs=1e-12)


def test_its_interval_covers_in_simulation():
    """Answers that are 0.2 too sure, 200 repetitions of 100 tasks: the 95 % interval holds 0.2 in 90 to 99 of 100."""
    g, hits = torch.Generator().manual_seed(0), 0
    log_probs = torch.tensor([0.8, 0.2]).double().log().expand(100, 10, 2)
    for _ in range(200):
        score = calibration_error(log_probs, (torch.rand(100, 10, generator=g) > 0.6).long())
        hits += abs(score.mean - 0.2) <= score.interval
    assert 0.90 <= hits / 200 <= 0.99


def test_the_answers_are_those_that_evaluate_scores():
    said = answers(BayesClusters(3), CLUSTERS, episodes=25, batch=10, seed=4, device="cpu")
    scores = evaluate(BayesClusters(3), CLUSTERS, episodes=25, batch=10, seed=4, device="cpu")
    assert said.log_probs.shape == (25, 30, 3)
    right = (said.log_probs.argmax(-1) == said.y).float().mean(1)
    torch.testing.assert_close(right, scores["accuracy"].values)


def test_a_bayes_classifier_is_calibrated_and_a_bolder_one_is_found_out():
    """The temperature of logits that were tripled is 3; tempered they are the Bayes classifier again."""
    setting = {"episodes": 400, "device": "cpu"}
    honest = confidence(BayesClusters(3), CLUSTERS, CLUSTERS, **setting)
    bold = confidence(Bolder(BayesClusters(3), 3.0), CLUSTERS, CLUSTERS, **setting)
    assert honest["calibration error"].mean < 0.02 and abs(honest["temperature"].mean - 1) < 0.1
    assert bold["calibration error"].mean > 0.05 and bold["temperature"].mean == pytest.approx(3, rel=0.1)
    assert bold["accuracy"].mean == honest["accuracy"].mean and bold["nll"].mean > honest["nll"].mean + 0.1
    assert bold["nll, tempered"].mean == pytest.approx(honest["nll, tempered"].mean, abs=1e-5)
    assert bold["calibration error, tempered"].mean < 0.02


def test_a_base_rate_is_calibrated_and_knows_nothing():
    """1/3 for every class: error 0 exactly (classes are balanced), accuracy 1/3, nll log 3."""
    scores = confidence(Ignorant(BayesClusters(3), 1.0), CLUSTERS, CLUSTERS, episodes=20, device="cpu")
    assert scores["calibration error"].mean == pytest.approx(0, abs=1e-6)
    assert scores["accuracy"].mean == pytest.approx(1 / 3) and scores["nll"].mean == pytest.approx(math.log(3))


def test_the_exact_posterior_covers_and_a_bolder_one_is_found_out():
    """90 % intervals of the exact posterior hold 85 to 95 %; with half the standard deviation P(|z| < 0.82) = 0.59."""
    setting = {"episodes": 400, "batch": 100, "device": "cpu"}
    honest = confidence(ExactGP(length_scale=0.5), WAVES, WAVES, **setting)
    bold = confidence(Bolder(ExactGP(length_scale=0.5), 2.0), WAVES, WAVES, **setting)
    assert 0.85 < honest["coverage"].mean < 0.95 and abs(honest["factor"].mean - 1) < 0.07
    assert 0.53 < bold["coverage"].mean < 0.65
    assert bold["factor"].mean == pytest.approx(2 * honest["factor"].mean, rel=1e-4)
    assert 0.85 < bold["coverage, stretched"].mean < 0.95
    assert bold["width"].mean == pytest.approx(honest["width"].mean / 2, rel=1e-4)
    assert bold["nll"].mean > honest["nll"].mean + 0.3


def test_the_nll_is_that_of_evaluate_where_there_are_no_latent_samples():
    one = confidence(ExactGP(length_scale=0.5), WAVES, WAVES, episodes=20, device="cpu")
    other = evaluate(ExactGP(length_scale=0.5), WAVES, episodes=20, device="cpu")
    for name in ("mse", "nll"):
        assert one[name].mean == pytest.approx(other[name].mean, abs=1e-5)


def test_predictions_of_another_kind_are_named():
    with pytest.raises(TypeError, match=r"^learner: predictions of type Independent given"):
        answers(ExactGP(length_scale=0.5), WAVES, episodes=2, device="cpu")
    assert isinstance(ExactGP().likelihood, Regression) and isinstance(BayesClusters(3).likelihood, Classification)
