"""Meta Networks against the Bayes classifier of clusters, and what is left without fast weights."""

import pytest
import torch

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


@pytest.mark.parametrize("base", ["own", "mlp"])
def test_a_fixed_base_learner_is_not_trained_and_the_rest_is(base):
    learner = build("meta-networks", TASKS, base=base, fixed_base=True, seed=0)
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    train(learner, TASKS, steps=2, batch=2, seed=0, device="cpu", progress="none")
    moved = {k for k, v in learner.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {k for k in before if not k.startswith("base.") and k != "codes"}


def test_what_the_representation_learns_is_not_fixed():
    with pytest.raises(
        ValueError, match="base_features: 40 given with base=shared; its features are those of the representation"
    ):
        build("meta-networks", TASKS, base_features=40)
    assert build("meta-networks", TASKS, base="mlp", base_features=40).base.shapes[0][1] == 40
    with pytest.raises(ValueError, match="base: shared given with fixed_base=True"):
        build("meta-networks", TASKS, fixed_base=True)
    with pytest.raises(ValueError, match="base: 'shred' given"):
        build("meta-networks", TASKS, base="shred")
