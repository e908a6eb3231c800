"""MAML++ on valleys: five learned rates against the best single one, between it and the Bayes optimum."""

import pytest
import torch

from metabook.baselines import BayesLinear
from metabook.evaluation import evaluate
from metabook.likelihood import Regression
from metabook.nn import MLP
from metabook.optimization import MAML, MAMLPlusPlus, step_importance
from metabook.tasks import MixedCurvature
from metabook.training import train

OPTIONS = {"scale": (1.0, 1.0), "condition": 10.0, "noise": 0.25, "shots": 100}
TASKS = MixedCurvature(**OPTIONS)


def mse(learner, tasks=TASKS, seed=1):
    return evaluate(learner, tasks, episodes=1000, batch=500, seed=seed, device="cpu")["mse"]


@pytest.mark.slow
def test_rates_for_every_step_beat_the_best_single_rate_and_stay_above_the_optimum():
    """A linear model, so that nothing but the steps can be learned. Predicting 0 costs 1.06, five steps from 0 about
    0.28 at the best of ten rates, the optimum of someone who knows the axes is 0.065. Three phases, each scoring the
    last step more than the one before."""
    zero = MLP(4, 1, hidden=())
    for p in zero.parameters():
        torch.nn.init.zeros_(p)
    rates = [0.03 + 0.006 * k for k in range(10)]
    descents = [MAML(zero, Regression(), inner_lr=rate, inner_steps=5) for rate in rates]
    chosen = min(descents, key=lambda descent: mse(descent, seed=2).mean)
    best, state = mse(chosen), zero.state_dict()

    for k, annealed in enumerate((0, 0.5, 1)):
        weights = step_importance(5, annealed)
        learner = MAMLPlusPlus(MLP(4, 1, hidden=()), Regression(), inner_lr=chosen.inner_lr, step_weights=weights)
        if k == 0:
            learner.net.load_state_dict(state)
            assert mse(learner).mean == pytest.approx(best.mean, rel=1e-4)  # equal rates from zero: the same descent
        else:
            learner.load_state_dict(state)
        train(learner, TASKS, steps=60, lr=5e-3, seed=k, device="cpu", progress="none")
        state = learner.state_dict()
    after, optimum = mse(learner), mse(BayesLinear(4, noise=0.25), MixedCurvature(whitened=True, **OPTIONS))
    gain = best.difference(after)
    assert gain.mean > gain.interval and after.mean < 0.7 * best.mean
    assert after.mean > optimum.mean + optimum.interval
