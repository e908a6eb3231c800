"""Meta Networks against the Bayes classifier of clusters, and what is left without fast weights."""

import pytest

from metabook.baselines import BayesClusters
from metabook.evaluation import evaluate
from metabook.registry import build
from metabook.tasks.clusters import Clusters
from metabook.training import train

WAY = 3
TASKS = Clusters(way=WAY, queries=5)


def scores(learner):
    return evaluate(learner, TASKS, episodes=1000, batch=500, device="cpu")["accuracy"]


def trained(**options):
    learner = build("meta-networks", TASKS, width=16, features=8, seed=0, **options)
    train(learner, TASKS, steps=250, batch=25, lr=5e-3, schedule="cosine", seed=0, device="cpu", progress="none")
    return scores(learner)


def test_it_comes_near_the_bayes_classifier():
    optimum, before = scores(BayesClusters(WAY)), scores(build("meta-networks", TASKS, width=16, features=8, seed=0))
    after = trained()
    assert before.mean < optimum.mean - 0.2
    assert after.mean > optimum.mean - 0.04
    worse = optimum.difference(after)
    assert worse.mean > -worse.interval  # nothing beats the optimum


def test_without_fast_weights_it_guesses():
    score = trained(fast=False)
    assert score.mean == pytest.approx(1 / WAY, abs=score.interval + 0.01)
