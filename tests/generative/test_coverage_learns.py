"""Every posterior statement checked by simulation: a neural process's 90 % intervals cover what they claim."""

import torch
from torch.distributions import Independent, Normal

from metabook.baselines import ExactGP
from metabook.confidence import confidence
from metabook.learner import MetaLearner
from metabook.registry import build
from metabook.tasks.gaussian_process import GaussianProcess
from metabook.training import train

TASKS = GaussianProcess(shots=(3, 15), queries=30, length_scale=0.5)


class Broken(MetaLearner):
    """A copy that takes the standard deviation for the variance: sd^2 where sd belongs."""

    def __init__(self, learner):
        super().__init__(learner.likelihood)
        self.learner = learner

    def adapt(self, support):
        return self.learner.adapt(support)

    def predict(self, state, query_x):
        prediction = self.learner.predict(state, query_x)
        return Independent(Normal(prediction.mean, prediction.variance), 1)

    def meta_loss(self, batch):
        return self.learner.meta_loss(batch)


def scores(learner):
    return confidence(learner, TASKS, TASKS, episodes=300, batch=10, seed=1, device="cpu")


def test_intervals_cover_what_they_claim_and_those_of_a_broken_copy_do_not():
    """90 % intervals cover 85 to 95 % of new targets: of the exact posterior, and of a network after 300 steps.

    The network's are wider. The copy whose standard deviations are squared is sharper and covers far less.
    """
    exact = scores(ExactGP(length_scale=0.5))
    torch.manual_seed(0)
    learner = build("conv-cnp", TASKS, width=32, per_unit=8, dilations=(1, 2, 4), seed=0)
    train(learner, TASKS, steps=300, batch=8, lr=5e-3, schedule="cosine", seed=0, device="cpu", progress="none")
    trained, broken = scores(learner), scores(Broken(learner))
    assert 0.85 < exact["coverage"].mean < 0.95
    assert 0.85 < trained["coverage"].mean < 0.95
    assert trained["width"].mean > exact["width"].mean
    assert not 0.85 < broken["coverage"].mean < 0.95
    assert 0.85 < broken["coverage, stretched"].mean < 0.95  # one factor repairs the mean, not the single interval
    assert broken["nll"].mean > trained["nll"].mean > exact["nll"].mean
