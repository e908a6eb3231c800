"""The joint loss alone, and with MAML's loss as its regulariser, against the Bayes optimum of linear regression."""

import pytest
import torch

from metabook.baselines import BayesLinear
from metabook.episode import union
from metabook.evaluation import evaluate
from metabook.likelihood import Regression
from metabook.nn import MLP
from metabook.optimization import RegularisedMAML
from metabook.tasks.linear import LinearRegression
from metabook.training import train

TASKS = LinearRegression(dim=4, shots=20, noise=0.5)


def mse(learner):
    return evaluate(learner, TASKS, episodes=2000, batch=500, device="cpu")["mse"]


def trained(**weights):
    torch.manual_seed(0)
    learner = RegularisedMAML(MLP(4, 1), Regression(), inner_lr=0.03, inner_steps=5, **weights)
    train(learner, TASKS, steps=200, batch=25, lr=5e-3, seed=0, device="cpu", progress="none")
    return learner


@pytest.mark.slow
def test_the_auxiliary_loss_makes_the_joint_fit_adaptable():
    """The optimum is about 0.315, predicting 0 costs 1.25. Both learners take the same five steps on a new task.

    Joint training asks for the function 0 and gets it, from where the steps do not lead far: 3.9 times the optimum.
    With MAML's loss beside it the start is as near to 0, and the steps reach about 1.35 times the optimum.
    """
    optimum = mse(BayesLinear(4, noise=0.5))
    joint, both = trained(maml_weight=0.0), trained(maml_weight=1.0)
    scores = {"joint": mse(joint), "both": mse(both)}
    joint.inner_steps = both.inner_steps = 0
    starts = {"joint": mse(joint), "both": mse(both)}
    assert scores["both"].mean < 1.5 * optimum.mean
    assert scores["joint"].mean > 2 * optimum.mean
    assert starts["both"].mean < 1.5 and starts["joint"].mean < 1.5
    worse = scores["both"].difference(optimum)
    assert worse.mean > worse.interval  # nothing beats the optimum


def test_the_l2_penalty_has_its_minimum_at_ridge_regression():
    """Joint loss of a linear model plus lambda |theta|^2: (X'X / n + lambda I) theta = X'y / n, bias as a column of 1.

    The gradient of the meta-loss at that solution is zero; at the solution without penalty it is 2 lambda theta.
    """
    episode = TASKS.sample(6, torch.Generator().manual_seed(0)).to(dtype=torch.float64)
    x, y = (t.flatten(0, 1) for t in union(*episode))
    x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    for penalty_weight in (0.0, 0.3):
        gram = x.T @ x / len(x) + penalty_weight * torch.eye(5, dtype=torch.float64)
        theta = torch.linalg.solve(gram, x.T @ y / len(x))[:, 0]
        learner = RegularisedMAML(
            MLP(4, 1, hidden=()).double(), Regression(), maml_weight=0.0, penalty="l2", penalty_weight=0.3
        )
        with torch.no_grad():
            learner.net.layers[0].weight.copy_(theta[:4].unsqueeze(0))
            learner.net.layers[0].bias.copy_(theta[4:])
        grads = torch.autograd.grad(learner.meta_loss(episode), list(learner.parameters()))
        expected = 0 * theta if penalty_weight else 0.6 * theta
        torch.testing.assert_close(torch.cat([g.flatten() for g in grads]), expected, atol=1e-12, rtol=1e-9)
