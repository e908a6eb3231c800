"""The learned optimiser against numbers by hand, a slow reference, central differences, and its limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Linear
from metabook.optimization import HandMade, LearnedOptimizer
from metabook.tasks.quadratics import Quadratics

LSTM = ("lower", "upper", "output")


def quadratic(dim=3, **options):
    """A learned optimiser in float64 for quadratics, its first weights zero."""
    torch.manual_seed(0)
    net = MLP(dim, 1, hidden=(), bias=False)
    nn.init.zeros_(net.layers[0].weight)
    return LearnedOptimizer(net, Regression(), **options).double()


def problems(n=2, dim=3, seed=0):
    return Quadratics(dim=dim).sample(n, torch.Generator().manual_seed(seed)).to(dtype=torch.float64)


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def value_and_gradient(learner, episode):
    loss = learner.meta_loss(episode)
    return [loss.detach(), *torch.autograd.grad(loss, list(learner.parameters()), materialize_grads=True)]


# By hand.


def test_by_hand_a_cell_without_memory():
    """All weights of the LSTM are zero but the biases of the upper cell, whose gates are wide open or shut.

    Upper cell: input gate 1 (bias 50), forget gate 0 (-50), output gate 1 (50), candidate tanh(1): so
    h = tanh(tanh(1)) at every step. The output layer has weight 2 and bias 0.5, and hidden = 1: each step is
    0.1 (2 tanh(tanh(1)) + 0.5), whatever the gradient. On f = (theta - 3)^2 from 0 two steps lead to
    0.2 (2 tanh(tanh(1)) + 0.5), and the meta-loss is the mean of (theta_1 - 3)^2 and (theta_2 - 3)^2.
    """
    learner = quadratic(dim=1, hidden=1, steps=2)
    with torch.no_grad():
        for p in learner.parameters():
            p.zero_()
        learner.upper.bias_ih.copy_(torch.tensor([50.0, -50.0, 1.0, 50.0]))  # input, forget, candidate, output
        learner.output.weight.fill_(2.0)
        learner.output.bias.fill_(0.5)
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    problem = Examples(one, 3 * one)
    step = 0.1 * (2 * math.tanh(math.tanh(1)) + 0.5)
    state = learner.adapt(problem)
    assert state.weights["layers.0.weight"].item() == pytest.approx(2 * step, abs=1e-14)
    expected = [(step - 3) ** 2, (2 * step - 3) ** 2]
    assert state.losses[0].tolist() == pytest.approx(expected, abs=1e-13)
    assert learner.meta_loss(Episode(problem, problem)).item() == pytest.approx(sum(expected) / 2, abs=1e-13)


def test_by_hand_the_gradient_of_the_output_bias():
    """With every other weight zero the steps are 0.1 b, so theta_t = 0.1 b t and on f = (theta - 3)^2 with b = 1

    d/db of the mean over t = 1, 2, 3 of (0.1 b t - 3)^2 is the mean of 0.2 t (0.1 t - 3) = (-0.58 - 1.12 - 1.62) / 3.
    Looking back over one step only, every t counts as 1 there: the mean of 0.2 (0.1 t - 3) = -0.56.
    """
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    problem = Examples(one, 3 * one)
    for unroll, expected in ((3, -3.32 / 3), (1, -0.56)):
        learner = quadratic(dim=1, hidden=2, steps=3, unroll=unroll)
        with torch.no_grad():
            for p in learner.parameters():
                p.zero_()
            learner.output.bias.fill_(1.0)
        loss = learner.meta_loss(Episode(problem, problem))
        assert torch.autograd.grad(loss, learner.output.bias)[0].item() == pytest.approx(expected, abs=1e-13)


# The slow reference: one weight at a time, gates written out, no shared code.


def features(g, p=10.0):
    if abs(g) >= math.exp(-p):
        return torch.stack([torch.log(torch.abs(g)) / p, torch.sign(g)])
    return torch.stack([torch.full_like(g, -1.0), math.exp(p) * g])


def cell(parameters, x, h, c):
    w_x, w_h, b_x, b_h = parameters
    i, f, u, o = (w_x @ x + b_x + w_h @ h + b_h).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
    return torch.sigmoid(o) * torch.tanh(c), c


def reference(learner, forward, start, episode, *, steps, unroll, batch=None, exact=False):
    """The mean loss of the trajectories, task by task, step by step, weight by weight."""
    lower, upper, output = ([*getattr(learner, name).parameters()] for name in LSTM)
    losses = []
    for b in range(len(episode.support.x)):
        theta = [w + 0 for w in start]
        memory = {}
        for t in range(steps):
            if t and t % unroll == 0:
                theta = [w.detach() for w in theta]
                memory = {k: tuple(m.detach() for m in v) for k, v in memory.items()}
            at = theta if exact else [w.detach() for w in theta]
            at = [w if w.requires_grad else w.requires_grad_() for w in at]
            loss = task_loss(forward, at, episode.support, b, t, batch)
            grads = torch.autograd.grad(loss, at, create_graph=exact)
            moved = []
            for n, (w, g) in enumerate(zip(theta, grads, strict=True)):
                steps_of_w = []
                for j, entry in enumerate(g.flatten()):
                    zero = torch.zeros(learner.hidden, dtype=torch.float64)
                    h1, c1, h2, c2 = memory.get((n, j), (zero,) * 4)
                    h1, c1 = cell(lower, features(entry), h1, c1)
                    h2, c2 = cell(upper, h1, h2, c2)
                    memory[n, j] = (h1, c1, h2, c2)
                    steps_of_w.append(0.1 * (output[0] @ h2 + output[1]))
                moved.append(w + torch.cat(steps_of_w).view_as(w))
            theta = moved
            losses.append(task_loss(forward, theta, episode.query, b, t + 1, batch))
    return torch.stack(losses).mean()


def task_loss(forward, weights, examples, b, t, batch):
    x, y = examples.x[b], examples.y[b]
    if batch is not None:
        count = math.ceil(len(x) / batch)
        rows = [i for i in range(len(x)) if i % count == t % count]
        x, y = x[rows], y[rows]
    out = forward(weights, x)
    return ((out - y) ** 2).sum() / len(x) if y.is_floating_point() else F.cross_entropy(out, y)


def linear(weights, x):
    return x @ weights[0].T


def network(weights, x):
    return torch.tanh(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3]


@pytest.mark.parametrize("exact", [False, True], ids=["first-order", "exact"])
@pytest.mark.parametrize("unroll", [1, 2, 5])
def test_quadratics_are_those_of_the_slow_reference(unroll, exact, device):
    learner = quadratic(hidden=4, steps=5, unroll=unroll, first_order=not exact).to(device)
    episode = problems().to(device)
    start = [torch.zeros(1, 3, dtype=torch.float64, device=device)]
    loss = reference(learner, linear, start, episode, steps=5, unroll=unroll, exact=exact)
    expected = [loss.detach(), *torch.autograd.grad(loss, list(learner.parameters()))]
    close(value_and_gradient(learner, episode), expected)


@pytest.mark.parametrize("learn_start", [False, True])
@pytest.mark.parametrize("batch", [None, 3])
def test_a_network_is_that_of_the_slow_reference(batch, learn_start):
    """Support and query differ, minibatches of three of seven and five examples, and the start may be trained too."""
    torch.manual_seed(1)
    net = MLP(2, 3, hidden=(2,), activation="tanh").double()
    options = {"hidden": 3, "steps": 4, "unroll": 3, "batch": batch, "learn_start": learn_start}
    learner = LearnedOptimizer(net, Classification(3), **options).double()
    x, y = torch.randn(2, 12, 2, dtype=torch.float64), torch.arange(12).expand(2, -1) % 3
    episode = Episode(Examples(x[:, :7], y[:, :7]), Examples(x[:, 7:], y[:, 7:]))
    loss = reference(learner, network, list(net.parameters()), episode, steps=4, unroll=3, batch=batch)
    expected = torch.autograd.grad(loss, list(learner.parameters()))
    assert len(expected) == 10 + 4 * learn_start
    close(value_and_gradient(learner, episode), [loss.detach(), *expected])


# The gradient by central differences.


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


def gradcheck(learner, episode):
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    return torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


def test_gradcheck_of_the_exact_meta_loss():
    """With the second derivatives kept and no truncation, the gradient is that of central differences."""
    torch.manual_seed(0)
    net = MLP(2, 1, hidden=(2,), activation="tanh")
    options = {"hidden": 2, "steps": 3, "learn_start": True, "first_order": False}
    learner = LearnedOptimizer(net, Regression(), **options).double()
    assert gradcheck(learner, Episode(problems(dim=2).support, problems(dim=2, seed=1).support))


class Height(Regression):
    """The mean output itself: linear in the weights of a linear network, so that its gradient is a constant."""

    def loss(self, outputs, y):
        return outputs.sum(-1).mean(1)


def test_gradcheck_of_the_first_order_meta_loss_where_nothing_is_left_out():
    net = Linear(2, 1, bias=False)
    learner = LearnedOptimizer(net, Height(), hidden=2, steps=3).double()
    assert gradcheck(learner, problems(dim=2))


# The idea switched off, and what must not matter.


class Stepper(LearnedOptimizer):
    """The learned optimiser with its LSTM's output replaced by -lr times the gradient."""

    def _update(self, gradient, memory, t):
        return -0.1 * gradient, memory


def test_with_minus_the_gradient_for_the_output_it_is_gradient_descent():
    torch.manual_seed(0)
    net = MLP(2, 3, hidden=(4,)).double()
    episode = Examples(torch.randn(2, 6, 2, dtype=torch.float64), torch.arange(6).expand(2, -1) % 3)
    learned = Stepper(net, Classification(3), steps=7, batch=2).double().adapt(episode)
    by_hand = HandMade(net, Classification(3), rule="sgd", lr=0.1, steps=7, batch=2).adapt(episode)
    assert torch.equal(learned.losses, by_hand.losses)
    assert all(torch.equal(learned.weights[k], v) for k, v in by_hand.weights.items())


def test_without_truncation_it_is_back_propagation_through_the_whole_trajectory():
    """unroll = steps and more change nothing; fewer leave the value and change the gradient."""
    whole, longer, cut = (value_and_gradient(quadratic(steps=6, unroll=u), problems()) for u in (6, 50, 3))
    assert all(torch.equal(a, b) for a, b in zip(whole, longer, strict=True))
    assert torch.equal(whole[0], cut[0])
    assert (whole[1] - cut[1]).norm() > 1e-3 * whole[1].norm()


def test_truncation_is_the_mean_of_the_segments_each_from_a_constant_start():
    """Six steps, looking back over three: the steps from where three steps lead are a trajectory of their own only if
    the memory goes on; with the memory cut too, the first segment's gradient is that of the three-step learner."""
    first = value_and_gradient(quadratic(steps=3, unroll=3), problems())
    learner = quadratic(steps=6, unroll=3)
    state = learner._follow(problems().support, problems().query)
    grads = torch.autograd.grad(state.losses[:, :3].mean(), list(learner.parameters()))
    close(grads, first[1:], tolerance=1e-12)


def test_the_exact_gradient_differs_from_the_papers():
    """A gradient of twice the size moves the LSTM's input by log(2) / 10 only; with larger weights it is heard."""
    results = []
    for first_order in (False, True):
        learner = quadratic(steps=4, first_order=first_order)
        with torch.no_grad():
            for p in learner.parameters():
                p.mul_(4)
        results.append(value_and_gradient(learner, problems()))
    exact, first = results
    assert torch.equal(exact[0], first[0]) and (exact[1] - first[1]).norm() > 1e-4 * exact[1].norm()


def test_every_weight_has_a_memory_of_its_own_and_shares_the_rule():
    """Shuffling the coordinates of a problem shuffles the trajectory: no weight knows its place."""
    learner, (x, y) = quadratic(steps=5), problems().support
    order = torch.tensor([2, 0, 1])
    one, other = (learner.adapt(Examples(z, y)).weights["layers.0.weight"] for z in (x, x[..., order]))
    torch.testing.assert_close(other, one[..., order], rtol=1e-12, atol=1e-12)


def test_the_same_optimiser_serves_problems_of_any_size():
    small, large = quadratic(dim=3, steps=4), quadratic(dim=6, steps=4)
    for name in LSTM:
        getattr(large, name).load_state_dict(getattr(small, name).state_dict())
    zero = torch.zeros(2, 3, 3, dtype=torch.float64)
    (x, y), (u, v) = problems().support, problems(seed=1).support
    both = Examples(torch.cat([torch.cat([x, zero], 2), torch.cat([zero, u], 2)], 1), torch.cat([y, v], 1) * 2**0.5)
    both = both._replace(x=both.x * 2**0.5)  # the mean is over twice as many rows
    together = large.adapt(both).weights["layers.0.weight"]
    apart = [small.adapt(e).weights["layers.0.weight"] for e in (Examples(x, y), Examples(u, v))]
    torch.testing.assert_close(together, torch.cat(apart, -1), rtol=1e-9, atol=1e-9)


def test_a_fixed_start_is_a_copy_and_saved_and_a_learned_one_is_the_network():
    net = MLP(2, 1)
    fixed, learned = (LearnedOptimizer(net, Regression(), learn_start=s) for s in (False, True))
    assert learned.net is net and fixed.net is not net
    assert {n for n, _ in learned.named_parameters()} - {n for n, _ in fixed.named_parameters()} == {
        f"net.{n}" for n, _ in net.named_parameters()
    }
    assert fixed.state_dict().keys() == learned.state_dict().keys()


def test_emphasis_weighs_the_steps_by_powers_of_their_number():
    """Three steps with t^2: (1 f_1 + 4 f_2 + 9 f_3) / 14; with 0 the mean."""
    losses = quadratic(steps=3).adapt(problems().support).losses.mean(0)
    for emphasis, w in ((2.0, [1 / 14, 4 / 14, 9 / 14]), (0.0, [1 / 3, 1 / 3, 1 / 3])):
        learner = quadratic(steps=3, emphasis=emphasis)
        expected = (losses * torch.tensor(w, dtype=losses.dtype)).sum()
        torch.testing.assert_close(learner.meta_loss(problems()), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="emphasis: -1 given"):
        quadratic(emphasis=-1)


@pytest.mark.parametrize("argument", ["steps", "unroll", "hidden", "batch"])
def test_bad_arguments_are_named(argument):
    with pytest.raises(ValueError, match=f"{argument}: 0 given; at least 1 is needed"):
        LearnedOptimizer(MLP(2, 1), Regression(), **{argument: 0})


def test_minibatches_make_the_order_of_the_support_set_matter():
    assert LearnedOptimizer(MLP(2, 1), Regression(), batch=2).ordered
    assert not LearnedOptimizer(MLP(2, 1), Regression()).ordered
