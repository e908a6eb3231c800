"""Hand-made optimisers against numbers by hand and against torch.optim."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Linear
from metabook.optimization import HandMade, tune
from metabook.optimization.hand_made import RULES
from metabook.tasks.quadratics import Quadratics


def scalar(rule, **options):
    """theta = 0 on f = (theta - 3)^2: one weight, W = 1, y = 3. The gradient is 2 (theta - 3)."""
    net = Linear(1, 1, bias=False).double()
    nn.init.zeros_(net.weight)
    problem = Examples(torch.ones(1, 1, 1, dtype=torch.float64), torch.full((1, 1, 1), 3.0, dtype=torch.float64))
    state = HandMade(net, Regression(), rule=rule, **options).adapt(problem)
    return state.weights["weight"].item(), state.losses[0].tolist()


def test_by_hand_sgd():
    """theta: 0 -> 0 + 0.1 * 6 = 0.6 -> 0.6 + 0.1 * 4.8 = 1.08; losses 2.4^2 = 5.76 and 1.92^2 = 3.6864."""
    theta, losses = scalar("sgd", lr=0.1, steps=2)
    assert theta == pytest.approx(1.08, abs=1e-14)
    assert losses == pytest.approx([5.76, 3.6864], abs=1e-13)


def test_by_hand_momentum_and_nesterov():
    """beta1 = 0.5. Momentum: v = -6, theta = 0.6; v = -3 - 4.8 = -7.8, theta = 1.38.

    Nesterov steps by g + beta1 v: -6 - 3 = -9, theta = 0.9; g = -4.2, v = -7.2, step -7.8, theta = 1.68.
    """
    assert scalar("momentum", lr=0.1, steps=2, beta1=0.5)[0] == pytest.approx(1.38, abs=1e-14)
    assert scalar("nesterov", lr=0.1, steps=2, beta1=0.5)[0] == pytest.approx(1.68, abs=1e-14)


def test_by_hand_rmsprop_and_adam():
    """One step, g = -6. RMSprop with beta2 = 0.75: s = 0.25 * 36 = 9, theta = 0.1 * 6 / 3 = 0.2.
    Adam without its bias would be 0.1 * 0.5 * 6 / 3; with it the first step is lr whatever the betas: 0.1."""
    assert scalar("rmsprop", lr=0.1, steps=1, beta2=0.75)[0] == pytest.approx(0.2, abs=1e-8)
    assert scalar("adam", lr=0.1, steps=1, beta1=0.5, beta2=0.75)[0] == pytest.approx(0.1, abs=1e-8)


def test_by_hand_the_cosine():
    """Two steps of SGD with rates 0.1 (1 + cos 0) / 2 = 0.1 and 0.1 (1 + cos pi/2) / 2 = 0.05: 0.6 + 0.24 = 0.84."""
    assert scalar("sgd", lr=0.1, steps=2, decay="cosine")[0] == pytest.approx(0.84, abs=1e-14)


OPTIM = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.95),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95)),
}


@pytest.mark.parametrize("decay", ["none", "cosine"])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_that_of_torch_optim(rule, decay):
    """Thirty steps on quadratics, one after the other with torch.optim, to 1e-10."""
    w, y = Quadratics(dim=5).sample(3, torch.Generator().manual_seed(0)).to(dtype=torch.float64).support
    net = Linear(5, 1, bias=False).double()
    ours = HandMade(net, Regression(), rule=rule, lr=0.01, steps=30, beta1=0.8, beta2=0.95, decay=decay)
    state = ours.adapt(Examples(w, y))
    for b in range(3):
        theta = net.weight.detach().clone().requires_grad_()
        optim = OPTIM[rule]([theta])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optim, 30) if decay == "cosine" else None
        for t in range(30):
            optim.zero_grad()
            (w[b] @ theta.T - y[b]).square().mean().backward()
            optim.step()
            if schedule is not None:
                schedule.step()
            loss = (w[b] @ theta.T - y[b]).square().mean()
            torch.testing.assert_close(state.losses[b, t], loss.detach(), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(state.weights["weight"][b], theta.detach(), rtol=1e-10, atol=1e-10)


def test_minibatches_of_a_network_are_dealt_out_in_turn():
    """Six examples in minibatches of two: rows 0 and 3, 1 and 4, 2 and 5, then again; the loss noted after step t is
    that of the next minibatch."""
    torch.manual_seed(0)
    net = MLP(2, 3, hidden=(4,)).double()
    x, y = torch.randn(1, 6, 2, dtype=torch.float64), torch.tensor([[0, 1, 2, 0, 1, 2]])
    state = HandMade(net, Classification(3), rule="adam", lr=0.1, steps=5, batch=2).adapt(Examples(x, y))
    optim = torch.optim.Adam(net.parameters(), lr=0.1)
    for t in range(5):
        optim.zero_grad()
        F.cross_entropy(net(x[:, t % 3 :: 3])[0], y[0, t % 3 :: 3]).backward()
        optim.step()
        after = F.cross_entropy(net(x[:, (t + 1) % 3 :: 3])[0], y[0, (t + 1) % 3 :: 3])
        torch.testing.assert_close(state.losses[0, t], after.detach(), rtol=1e-10, atol=1e-10)


def test_one_step_of_newton_size_solves_the_unit_quadratic():
    """f / D has Hessian 2 W^T W / D. With W = I and rate D / 2 a single step of SGD ends at the optimum."""
    net = Linear(4, 1, bias=False).double()
    problem = Examples(torch.eye(4, dtype=torch.float64).unsqueeze(0), torch.randn(1, 4, 1, dtype=torch.float64))
    state = HandMade(net, Regression(), rule="sgd", lr=2.0, steps=1).adapt(problem)
    torch.testing.assert_close(state.weights["weight"][0, 0], problem.y[0, :, 0], rtol=1e-12, atol=1e-12)


def test_the_start_is_a_copy_without_meta_parameters():
    net = MLP(2, 1)
    learner = HandMade(net, Regression())
    assert not list(learner.parameters()) and len(learner.state_dict()) == len(list(net.parameters()))
    with torch.no_grad():
        net.layers[0].weight.zero_()
    assert learner.state_dict()["net.layers.0.weight"].abs().max() > 0


# Tuning.

TASKS = Quadratics(dim=2)


def build(**options):
    net = Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    return HandMade(net, Regression(), rule="sgd", steps=5, **options)


def test_tuning_finds_the_best_point_of_the_grid():
    grid = [0.001, 0.01, 0.1, 0.3, 10.0]
    tuned = tune(build, TASKS, {"lr": grid}, problems=200)
    batch = TASKS.sample(200, torch.Generator().manual_seed(0))
    means = [TASKS.score(build(lr=lr), batch)["loss"].mean().item() / 2 for lr in grid[:-1]]
    assert tuned.options == {"lr": grid[means.index(min(means))]}
    assert list(tuned.table.values())[:-1] == pytest.approx(means, rel=1e-5)
    assert tuned.loss == min(tuned.table.values())


def test_what_diverges_counts_as_infinite():
    tuned = tune(lambda **o: build(**o), TASKS, {"lr": [0.001, 0.1, 1e30]}, problems=50)
    assert tuned.table[(1e30,)] == math.inf


def test_tuning_along_the_way_takes_the_mean_over_the_steps():
    batch = TASKS.sample(50, torch.Generator().manual_seed(0))
    tuned = tune(build, TASKS, {"lr": [0.1]}, problems=50, along=True)
    assert tuned.loss == pytest.approx(build(lr=0.1).adapt(batch.support).losses.mean().item(), rel=1e-6)


@pytest.mark.parametrize("grid", [[0.001, 0.002, 0.003], [0.1, 1.0, 10.0]])
def test_a_best_point_at_the_edge_is_refused(grid):
    with pytest.raises(ValueError, match=r"grid: lr = .* is best, at the edge of the values given; widen them"):
        tune(build, TASKS, {"lr": grid}, problems=50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "newton"}, "rule: 'newton' given; allowed are sgd, momentum, nesterov, rmsprop, adam"),
        ({"decay": "fast"}, "decay: 'fast' given; allowed are none, cosine"),
        ({"lr": 0}, "lr: 0 given"),
        ({"beta1": 1.0}, r"beta1: 1.0 given; a number from 0 to below 1 is needed"),
        ({"beta2": "x"}, r"beta2: 'x' given; a number from 0 to below 1 is needed"),
        ({"steps": 0}, "steps: 0 given"),
        ({"batch": 0}, "batch: 0 given"),
        ({"eps": 0.0}, "eps: 0.0 given"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HandMade(MLP(2, 1), Regression(), **options)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), r"net: layer 1 \(BatchNorm1d\) keeps running statistics, "),
        (nn.Linear(2, 1).requires_grad_(False), "net: no parameter requires a gradient; an optimiser needs at least"),
    ],
)
def test_networks_that_cannot_be_used_are_refused(net, message):
    with pytest.raises(ValueError, match=message):
        HandMade(net, Regression())


def test_the_meta_loss_is_the_mean_of_the_query_losses_along_the_way():
    net = Linear(2, 1, bias=False).double()
    a, b = (TASKS.sample(3, torch.Generator().manual_seed(s)).to(dtype=torch.float64).support for s in (0, 1))
    learner, losses = HandMade(net, Regression(), rule="sgd", lr=0.1, steps=4), []
    for t in range(1, 5):
        theta = HandMade(net, Regression(), rule="sgd", lr=0.1, steps=t).adapt(a).weights["weight"]
        losses.append((b.x @ theta.mT - b.y).square().mean())
    torch.testing.assert_close(learner.meta_loss(Episode(a, b)), torch.stack(losses).mean())
