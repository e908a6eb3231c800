"""The LSTM meta-learner against numbers by hand, and against a slow reference that shares no code with the package."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear
from metabook.optimization.lstm_meta_learner import LSTMMetaLearner
from metabook.optimization.maml import MAML

B = 3


# By hand: the model y = w x with one parameter, one support and one query example, squared error.


def by_hand(steps, *, forget, rate, feedback=((0.0, 0.0), (0.0, 0.0))):
    """w = 1, support (x, y) = (1, 2), query (2, 3); the gates read nothing but what ``feedback`` says."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(net.weight)
    learner = LSTMMetaLearner(net, Regression(), inner_steps=steps).double()
    with torch.no_grad():
        learner.gates.weight.zero_()
        learner.gates.bias.copy_(torch.tensor([math.log(g / (1 - g)) for g in (forget, rate)], dtype=torch.float64))
        learner.feedback.copy_(torch.tensor(feedback, dtype=torch.float64))
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 2.0, 2.0, 3.0)]
    return learner, Episode(Examples(*point[:2]), Examples(*point[2:]))


def test_by_hand_two_steps_and_the_gradients_of_start_and_gates():
    """f = 1/2 and i = 1/4. L_S = (w - 2)^2, gradient 2 (w - 2).

    w = 1: gradient -2, theta_1 = 1/2 + 1/2 = 1. Again: theta_2 = 1. L_Q = (2 - 3)^2 = 1, dL_Q/dtheta_2 = -4.
    The gradient -2 of each step is a constant, so d theta_2 / d theta_0 = f^2 = 1/4: the start's gradient is -1.
    d theta_2 / df = theta_1 + f theta_0 = 3/2, and df / db_F = f (1 - f) = 1/4: that of b_F is -4 * 3/8 = -1.5.
    d theta_2 / di = 2 + f 2 = 3, and di / db_I = i (1 - i) = 3/16: that of b_I is -4 * 9/16 = -2.25.
    """
    learner, episode = by_hand(2, forget=0.5, rate=0.25)
    state = learner.adapt(episode.support)
    assert state.weights["weight"].item() == pytest.approx(1.0, abs=1e-14)
    assert (state.forget.item(), state.rate.item()) == (pytest.approx(0.5, abs=1e-15), pytest.approx(0.25, abs=1e-15))
    loss = learner.meta_loss(episode)
    assert loss.item() == pytest.approx(1.0, abs=1e-13)
    start, bias = torch.autograd.grad(loss, [learner.net.weight, learner.gates.bias])
    assert start.item() == pytest.approx(-1.0, abs=1e-13)
    assert bias.tolist() == [pytest.approx(-1.5, abs=1e-13), pytest.approx(-2.25, abs=1e-13)]


def test_by_hand_a_gate_reads_the_weight_and_its_own_last_value():
    """b_I = log(1/3) and i_t = sigmoid(b_I + u theta_{t-1} + v i_{t-1}) with u = v = log 3; f = 1/2.

    Step 1: theta_0 = 1, i_0 = 0: i_1 = sigmoid(0) = 1/2, and theta_1 = 1/2 + 1/2 * 2 = 3/2.
    Step 2: gradient -1; i_2 = sigmoid(log 3 * (-1 + 3/2 + 1/2)) = sigmoid(log 3) = 3/4, theta_2 = 3/4 + 3/4 = 3/2.
    """
    u = math.log(3)
    learner, episode = by_hand(2, forget=0.5, rate=0.25, feedback=((0.0, 0.0), (u, u)))
    state = learner.adapt(episode.support)
    assert state.rate.item() == pytest.approx(0.75, abs=1e-14)
    assert state.weights["weight"].item() == pytest.approx(1.5, abs=1e-14)


# The slow reference: one weight after the other, lists of numbers, the cell written out.


def mlp(weights, x, activation=F.relu):
    for i in range(0, len(weights) - 2, 2):
        x = activation(x @ weights[i].T + weights[i + 1])
    return x @ weights[-2].T + weights[-1]


def conv4(weights, x):
    for i in range(0, len(weights) - 2, 4):
        kernel, bias, scale, shift = weights[i : i + 4]
        x = F.batch_norm(F.conv2d(x, kernel, bias, padding=1), None, None, scale, shift, training=True)
        x = F.max_pool2d(F.relu(x), 2)
    return x.flatten(1) @ weights[-2].T + weights[-1]


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def seen(x):
    return [math.log(abs(x)) / 10, math.copysign(1.0, x)] if abs(x) >= math.exp(-10) else [-1.0, math.exp(10) * x]


def lstm(learner, x, h, c):
    """Gates in the order input, forget, candidate, output, as nn.LSTMCell documents it."""
    cell, n = learner.first_layer, len(h)
    a = cell.weight_ih @ x + cell.bias_ih + cell.weight_hh @ h + cell.bias_hh
    i, f, o = (1 / (1 + torch.exp(-a[k * n : (k + 1) * n])) for k in (0, 1, 3))
    c = f * c + i * torch.tanh(a[2 * n : 3 * n])
    return o * torch.tanh(c), c


def adapted(learner, forward, x, y, steps, batches=None):
    """The weights of one task after ``steps`` steps, a list of tensors; ``batches``: indices of examples a step."""
    theta = list(learner.net.parameters())
    hidden = learner.first_layer.hidden_size
    zero = torch.zeros(hidden, dtype=torch.float64)
    memory = [[(zero, zero, 0.0, 0.0)] * p.numel() for p in theta]  # h, c, f, i of every weight
    (wf, wi), (bf, bi), ((uf, vf), (ui, vi)) = learner.gates.weight, learner.gates.bias, learner.feedback
    for t in range(steps):
        own = slice(None) if batches is None else batches[t]
        leaves = [w.detach().requires_grad_() for w in theta]
        loss = task_loss(forward(leaves, x[own]), y[own])
        grads = torch.autograd.grad(loss, leaves)
        for n, grad in enumerate(grads):
            moved = []
            for k, (g, w) in enumerate(zip(grad.flatten().tolist(), theta[n].flatten(), strict=True)):
                h, c, f, i = memory[n][k]
                h, c = lstm(learner, torch.tensor([*seen(g), *seen(loss.item())], dtype=torch.float64), h, c)
                f = 1 / (1 + torch.exp(-(wf @ h + bf + uf * w + vf * f)))
                i = 1 / (1 + torch.exp(-(wi @ h + bi + ui * w + vi * i)))
                memory[n][k] = (h, c, f, i)
                moved.append(f * w - i * g)
            theta[n] = torch.stack(moved).view_as(theta[n])
    return theta


def reference(learner, forward, episode, steps, batches=None):
    losses = []
    for x, y, query_x, query_y in zip(*episode.support, *episode.query, strict=True):
        losses.append(task_loss(forward(adapted(learner, forward, x, y, steps, batches), query_x), query_y))
    return sum(losses) / len(losses)


# name: (the package's network, the reference's, shape of an input, ways to map)
NETS = {
    "MLP": (lambda: MLP(2, 3, hidden=(4,)), mlp, (2,), [None]),
    "Conv4": (lambda: Conv4(1, 3, width=2, size=16), conv4, (1, 16, 16), [None]),
    "own": (
        lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)),
        lambda w, x: mlp(w, x, torch.tanh),
        (2,),
        [None, "loop"],
    ),
}
EVERY_NET = [pytest.param(name, how, id=f"{name}-{how}") for name, (*_, ways) in NETS.items() for how in ways]


def build(name, likelihood, **options):
    torch.manual_seed(0)
    learner = LSTMMetaLearner(NETS[name][0](), likelihood, hidden=4, inner_lr=0.2, keep=0.9, **options).double()
    with torch.no_grad():  # away from a rule that reads nothing
        for n, p in learner.named_parameters():
            p.add_((0.1 if n.startswith("net") else 0.7) * torch.randn_like(p))
    return learner


def draw(x_shape, kind, *, tasks=B, outputs=3, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(tasks, n, *x_shape, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(tasks, -1) % outputs)
        return Examples(x, torch.randn(tasks, n, outputs, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def value_and_gradient(loss, parameters):
    return [loss.detach(), *torch.autograd.grad(loss, parameters)]


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize(("name", "how"), EVERY_NET)
def test_loss_and_meta_gradient_are_those_of_the_slow_reference(name, how, kind):
    tasks, steps = (1, 2) if name == "Conv4" else (B, 3)
    learner, episode = build(name, kind(3), inner_steps=steps, how=how), draw(NETS[name][2], kind, tasks=tasks)
    parameters = list(learner.parameters())
    expected = reference(learner, NETS[name][1], episode, steps)
    close(value_and_gradient(learner.meta_loss(episode), parameters), value_and_gradient(expected, parameters))


def test_the_adapted_weights_are_those_of_the_slow_reference():
    learner, episode = build("MLP", Regression(3), inner_steps=2), draw((2,), Regression)
    state = learner.adapt(episode.support)
    for b in range(B):
        close([v[b] for v in state.weights.values()], adapted(learner, mlp, *[e[b] for e in episode.support], 2))


def test_minibatches_are_dealt_out_in_turn_and_come_round_again():
    """Four examples, two a step: 0 and 2, then 1 and 3, then 0 and 2 again."""
    learner, episode = build("MLP", Regression(3), inner_steps=3, batch=2), draw((2,), Regression)
    assert learner.ordered and not build("MLP", Regression(3)).ordered
    expected = reference(learner, mlp, episode, 3, batches=[[0, 2], [1, 3], [0, 2]])
    close([learner.meta_loss(episode)], [expected])


# The gradient by central differences, of the loss in which the inner gradients are constants.


class Smooth(nn.Module):
    """A tiny network without kinks from layers that take stacked weights."""

    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(2, 3), Linear(3, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Loss(nn.Module):
    """The meta-loss as a forward pass, which functional_call can call at other parameters."""

    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("how", ["stacked", "vmap", "loop"])
def test_gradcheck_of_the_meta_loss_with_the_measurements_held_constant(how, kind, monkeypatch):
    """The gradient is exact but for what gradients and losses owe to theta: with what was measured at the parameters
    replayed, central differences must agree in every parameter."""
    torch.manual_seed(0)
    net = Smooth() if how == "stacked" else nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    learner = LSTMMetaLearner(net, kind(2), hidden=2, inner_lr=0.3, keep=0.9, inner_steps=2, how=how).double()
    for p in learner.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    episode, measured = draw((2,), kind, tasks=2, outputs=2), []
    honest = LSTMMetaLearner._measure
    monkeypatch.setattr(LSTMMetaLearner, "_measure", lambda *a: measured.append(honest(*a)) or measured[-1])
    learner.meta_loss(episode)
    assert len(measured) == 2
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        replay = iter(measured)
        monkeypatch.setattr(LSTMMetaLearner, "_measure", lambda *_: next(replay))
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The idea switched off, and what must not matter.


def constant_gates(name, likelihood, *, rate, **options):
    """f = 1 exactly, sigmoid(40) in float64, and i = rate, whatever the gates are shown."""
    learner = build(name, likelihood, **options)
    with torch.no_grad():
        learner.gates.weight.zero_()
        learner.feedback.zero_()
        learner.gates.bias.copy_(torch.tensor([40.0, math.log(rate / (1 - rate))], dtype=torch.float64))
    return learner


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", NETS)
def test_with_constant_gates_it_is_gradient_descent_and_trains_its_start_as_first_order_maml(name, kind):
    """f = 1 and i = lr: c_t = c_{t-1} - lr grad, step by step; the start's gradient is that of the query loss there."""
    learner, episode = constant_gates(name, kind(3), rate=0.1, inner_steps=3), draw(NETS[name][2], kind)
    maml = MAML(learner.net, kind(3), inner_lr=0.1, inner_steps=3, first_order=True)
    close(learner.adapt(episode.support).weights.values(), maml.adapt(episode.support).values(), tolerance=1e-12)
    parameters = list(learner.net.parameters())
    ours, theirs = (value_and_gradient(m.meta_loss(episode), parameters) for m in (learner, maml))
    close(ours, theirs, tolerance=1e-12)


def test_without_steps_it_is_the_plain_network():
    learner, episode = build("MLP", Regression(3), inner_steps=0), draw((2,), Regression)
    close([learner(episode).mean], [torch.stack([mlp(list(learner.net.parameters()), x) for x in episode.query.x])])


def test_the_rule_starts_as_gradient_descent_with_a_little_decay():
    """All weights of the rule within 0.01: every gate is near its bias."""
    torch.manual_seed(0)
    learner = LSTMMetaLearner(MLP(2, 3), Regression(3), keep=0.98, inner_lr=0.05).double()
    state = learner.adapt(draw((2,), Regression).support)
    assert (state.forget - 0.98).abs().max() < 0.002 and (state.rate / 0.05 - 1).abs().max() < 0.05


def test_every_coordinate_has_a_memory_of_its_own(monkeypatch):
    """Two weights that start alike and get the same gradient in the second step, but not in the first, end with other
    gates; with the first layer's memory cut, and no feedback, with the same."""
    measured = [torch.tensor([[[2.0, -0.5]], [[1.0, 1.0]]][t], dtype=torch.float64) for t in (0, 1)]
    gates = {}
    for remembers in (True, False):
        learner = build("MLP", Regression(3), inner_steps=2)
        learner.net = nn.Linear(1, 2, bias=False).double()
        nn.init.ones_(learner.net.weight)
        with torch.no_grad():
            learner.feedback.zero_()
            if not remembers:
                learner.first_layer.weight_hh.zero_()
                learner.first_layer.weight_ih[4:8].zero_()  # the forget gate of the first layer shuts
                learner.first_layer.bias_ih[4:8] = -80.0
        steps = iter(measured)
        monkeypatch.setattr(LSTMMetaLearner, "_measure", lambda *_, s=steps: (next(s), torch.ones(1).double()))
        gates[remembers] = learner.adapt(Examples(torch.ones(1, 1, 1).double(), torch.ones(1, 1, 2).double()))
    assert gates[True].rate.shape == gates[True].forget.shape == (1, 2)
    assert all((g[0, 0] - g[0, 1]).abs() > 1e-6 for g in gates[True][1:])
    assert all((g[0, 0] - g[0, 1]).abs() < 1e-12 for g in gates[False][1:])


@pytest.mark.parametrize("name", ["MLP", "Conv4"])
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_changes_nothing(name, chunk):
    episode = draw(NETS[name][2], Regression)
    whole, parts = (build(name, Regression(3), inner_steps=2, chunk=c) for c in (B, chunk))
    ours, theirs = (value_and_gradient(m.meta_loss(episode), list(m.parameters())) for m in (parts, whole))
    close(ours, theirs, tolerance=1e-10)
    state, expected = parts.adapt(episode.support), whole.adapt(episode.support)
    close([*state.weights.values(), *state[1:]], [*expected.weights.values(), *expected[1:]], tolerance=1e-10)


def test_no_graph_reaches_the_inner_gradients():
    """A network whose second derivative raises can be used: nothing asks for it."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g

    class Net(Smooth):
        def forward(self, x):
            return Once.apply(super().forward(x))

    torch.manual_seed(0)
    learner = LSTMMetaLearner(Net(), Regression(2)).double()
    learner.meta_loss(draw((2,), Regression, outputs=2)).backward()
    assert learner.first_order and learner.first_layer.weight_ih.grad.abs().max() > 0


# What cannot be used.


def test_frozen_parameters_stay_and_a_network_that_is_frozen_altogether_is_refused():
    learner, episode = build("MLP", Regression(3), inner_steps=2), draw((2,), Regression)
    learner.net.layers[0].requires_grad_(False)
    assert list(learner.adapt(episode.support).weights) == ["layers.1.weight", "layers.1.bias"]
    learner.net.requires_grad_(False)
    with pytest.raises(ValueError, match="net: no parameter requires a gradient; the rule needs at least one"):
        learner(episode)


def test_layers_that_keep_running_statistics_are_refused_by_name():
    with pytest.raises(ValueError, match=r"net: layer 1 \(BatchNorm1d\) keeps running statistics"):
        LSTMMetaLearner(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), Regression(3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_steps": -1}, ValueError, "inner_steps: -1 given; at least 0"),
        ({"hidden": 0}, ValueError, "hidden: 0 given; at least 1"),
        ({"keep": 1.0}, ValueError, "keep: 1.0 given; a gate is below 1"),
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given; a finite number above 0"),
        ({"inner_lr": 2}, ValueError, "inner_lr: 2 given; a gate is below 1"),
        ({"batch": 0}, ValueError, "batch: 0 given; at least 1"),
        ({"chunk": 0}, ValueError, "chunk: 0 given; at least 1"),
    ],
)
def test_options_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        LSTMMetaLearner(MLP(2, 3), Regression(3), **options)
