"""MetaGAN against the Bayes classifier of clusters, and its generator against the place of the task."""

import pytest
import torch

from metabook.baselines import BayesClusters
from metabook.evaluation import evaluate
from metabook.registry import build
from metabook.tasks.clusters import Clusters
from metabook.training import train

TASKS = Clusters()  # 5-way 1-shot in the plane


def scores(learner):
    return evaluate(learner, TASKS, episodes=1000, batch=500, device="cpu")["accuracy"]


@pytest.fixture(scope="module")
def trained():
    learner = build("metagan", TASKS, width=16, seed=0)
    train(learner, TASKS, steps=500, batch=25, lr=2e-3, seed=0, device="cpu", progress="none")
    return learner


def test_it_comes_near_the_bayes_classifier(trained):
    optimum, before = scores(BayesClusters()), scores(build("metagan", TASKS, width=16, seed=0))
    after = scores(trained)
    assert before.mean < optimum.mean - 0.03
    assert after.mean > optimum.mean - 0.02
    worse = optimum.difference(after)
    assert worse.mean > -worse.interval  # nothing beats the optimum


def test_fakes_lie_where_the_task_is(trained):
    """The mean of a task's fakes goes with the mean of its support set; an untrained generator's hardly does."""
    batch = TASKS.sample(400, torch.Generator().manual_seed(5))
    centre = batch.support.x.mean(1)

    def correlation(learner):
        with torch.no_grad():
            fakes = learner.fakes(batch.support, 50).mean(1)
        return torch.corrcoef(torch.stack([fakes.flatten(), centre.flatten()]))[0, 1]

    assert correlation(trained) > 0.8 and correlation(build("metagan", TASKS, width=16, seed=0)).abs() < 0.5
