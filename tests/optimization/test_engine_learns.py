"""The optimisation engine on tasks whose best optimisers differ, against the optimum and against a shared optimiser."""

import itertools

import pytest
import torch

from metabook.baselines import BayesLinear
from metabook.evaluation import evaluate
from metabook.likelihood import Regression
from metabook.nn import MLP
from metabook.optimization import OptimizationEngine
from metabook.tasks.mixed_curvature import MixedCurvature
from metabook.training import train

TASKS = MixedCurvature()


def mse(learner, tasks=TASKS):
    return evaluate(learner, tasks, episodes=2000, batch=500, device="cpu")["mse"]


def best_shared_descent(episode, steps):
    """The lowest mean error of ``steps`` of gradient descent from 0, over a grid of one rate and one momentum for all.

    The tasks treat w and -w, and all axes, alike: no other start and no preconditioner is called for.
    """
    x, y = episode.support
    errors = []
    for rate, mu in itertools.product([0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02], [0.0, 0.2, 0.4, 0.6, 0.8]):
        w = m = torch.zeros(len(x), x.shape[2], 1)
        for _ in range(steps):
            m = mu * m + 2 * x.mT @ (x @ w - y) / x.shape[1]
            w = w - rate * m
        errors.append((episode.query.x @ w - episode.query.y).square().mean().item())
    return min(errors)


@pytest.mark.slow
def test_an_optimizer_for_each_task_comes_near_the_optimum_where_no_shared_one_can():
    """The optimum is about 0.079, noise 0.0625 included; predicting 0 costs 1.06.

    Five steps of the best shared descent leave about 0.6. 700 meta-steps of 200 tasks brought the engine to
    1.03 times the optimum; the bar is 1.25.
    """
    optimum = mse(BayesLinear(4, noise=TASKS.noise), MixedCurvature(whitened=True))
    shared = best_shared_descent(TASKS.sample(2000, torch.Generator().manual_seed(7)), steps=5)
    torch.manual_seed(0)
    engine = OptimizationEngine(MLP(4, 1, hidden=()), Regression(), x_shape=(4,), inner_lr=0.003, inner_steps=5)
    before = mse(engine)
    for steps, lr in ((400, 1e-2), (200, 2e-3), (100, 4e-4)):
        train(engine, TASKS, steps=steps, batch=200, lr=lr, seed=0, device="cpu", progress="none")
    after = mse(engine)
    assert before.mean > 0.85  # it starts as plain descent with one small rate
    assert after.mean + after.interval < 1.25 * optimum.mean < 0.2 * shared
    worse = after.difference(optimum)
    assert worse.mean > worse.interval  # nothing beats the optimum

    # Steep axes get short steps: alpha P_d sigma_d^2 varies far less than sigma_d^2 alone, which differs by 1000.
    generator = torch.Generator().manual_seed(3)
    bowl = TASKS.parameters(500, generator)
    rule = engine.adapt(TASKS.episode(bowl, generator).support).optimizer
    step = (rule.rate["layers.0.weight"].unsqueeze(-1) * rule.preconditioner["layers.0.weight"]).squeeze(1).log()
    curvature = 2 * bowl.sigma.log()
    assert (step + curvature).std() < curvature.std() / 2
