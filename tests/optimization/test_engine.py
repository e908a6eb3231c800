"""The optimisation engine by hand, against a slow reference that shares no code with it, and at its limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear, TaskEncoder
from metabook.optimization import MAML, MetaSGD, OptimizationEngine

B = 3


# By hand: linear models without bias, one support and one query example, squared error; the generator's bias speaks.


def by_hand(outputs, *, inputs=1, **options):
    """Weights 1 (or zeros for two inputs), support (1, 2) or ((1, 1), 1), query (2, 3); ``outputs``: a, b, c."""
    net = nn.Linear(inputs, 1, bias=False).double()
    nn.init.constant_(net.weight, float(inputs == 1))
    learner = OptimizationEngine(net, Regression(), x_shape=(inputs,), inner_lr=0.1, shared=True, **options).double()
    with torch.no_grad():
        learner.generator.bias.copy_(torch.tensor(outputs, dtype=torch.float64))
    values = (1.0, 2.0, 2.0, 3.0) if inputs == 1 else (1.0, 1.0, 1.0, 1.0)
    widths = (inputs, 1, inputs, 1)
    parts = [torch.full((1, 1, width), v, dtype=torch.float64) for v, width in zip(values, widths, strict=True)]
    return learner, Episode(Examples(*parts[:2]), Examples(*parts[2:]))


def test_by_hand_rate_and_momentum():
    """a = ln 2 doubles the rate to alpha = 0.2; b = artanh 0.5 makes mu = 0.5; one input has no direction: P = 1.

    g_0 = 2 (1 - 2) = -2, m_1 = -2, phi_1 = 1.4. g_1 = -1.2, m_2 = -1 - 1.2 = -2.2, phi_2 = 1.84.
    L_Q = (3.68 - 3)^2 = 0.4624 and dL_Q/dphi_2 = 2 * 2 * 0.68 = 2.72.

    By theta: dphi_1 = 1 - 2 alpha = 0.6, dm_2 = 0.5 * 2 + 2 * 0.6 = 2.2, dphi_2 = 0.6 - 0.2 * 2.2 = 0.16.
    By alpha: dphi_1 = 2, dm_2 = 4, dphi_2 = 2 + 2.2 - 0.2 * 4 = 3.4; and d alpha / da = alpha = 0.2.
    By mu: dphi_2 = -alpha m_1 = 0.4; and d mu / db = 1 - mu^2 = 0.75.
    """
    learner, episode = by_hand([math.log(2), math.atanh(0.5), 7.0], inner_steps=2)
    weights, optimizer, _ = learner.adapt(episode.support)
    assert weights["weight"].item() == pytest.approx(1.84, abs=1e-14)
    assert optimizer.rate["weight"].item() == pytest.approx(0.2, abs=1e-15)
    assert optimizer.momentum["weight"].item() == pytest.approx(0.5, abs=1e-15)
    assert optimizer.preconditioner["weight"].item() == 1
    loss = learner.meta_loss(episode)
    assert loss.item() == pytest.approx(0.4624, abs=1e-14)
    theta, bias = torch.autograd.grad(loss, [learner.net.weight, learner.generator.bias])
    assert theta.item() == pytest.approx(2.72 * 0.16, abs=1e-13)
    assert bias.tolist() == pytest.approx([2.72 * 3.4 * 0.2, 2.72 * 0.4 * 0.75, 0], abs=1e-13)


def test_by_hand_preconditioner():
    """c = (ln 9, 0) less its mean ln 3 gives P = diag(3, 1/3). At zero weights the gradient is 2 (0 - 1) (1, 1).

    phi = 0.1 * 2 * (3, 1/3) = (0.6, 0.2 / 3).
    """
    learner, episode = by_hand([0.0, 0.0, math.log(9), 0.0], inputs=2, inner_steps=1)
    weights, optimizer, _ = learner.adapt(episode.support)
    assert optimizer.preconditioner["weight"].flatten().tolist() == pytest.approx([3, 1 / 3], abs=1e-14)
    assert weights["weight"].flatten().tolist() == pytest.approx([0.6, 0.2 / 3], abs=1e-14)


def test_by_hand_each_step_has_its_own_rate():
    """Rates 0.1 and 0.2, no momentum: phi_1 = 1.2, phi_2 = 1.2 + 0.2 * 1.6 = 1.52."""
    learner, episode = by_hand([0.0, math.log(2), 0.0, 0.0, 0.0], inner_steps=2, per_step=True)
    assert learner.adapt(episode.support).weights["weight"].item() == pytest.approx(1.52, abs=1e-14)


@pytest.mark.parametrize(("ceiling", "loss", "slope"), [(None, 0.36, 1), (1.0, 0.36, 1), (0.04, 0.04, 1 / 9)])
def test_by_hand_ceiling(ceiling, loss, slope):
    """One plain step: phi = 1.2, L_Q = (2.4 - 3)^2 = 0.36, and -1.92 by theta (the numbers of MAML).

    With ceiling 0.04 it counts as 0.04 (1 + ln 9), and the gradient is 0.04 / 0.36 = 1/9 of what it was.
    """
    learner, episode = by_hand([0.0, 0.0, 0.0], inner_steps=1, ceiling=ceiling)
    value = learner.meta_loss(episode)
    assert value.item() == pytest.approx(loss + (ceiling == 0.04) * 0.04 * math.log(9), abs=1e-14)
    assert torch.autograd.grad(value, learner.net.weight)[0].item() == pytest.approx(-1.92 * slope, abs=1e-13)


# The slow reference: lists of tensors, loops over tasks, steps, directions and tensors.


def mlp(weights, x, activation=F.relu):
    for i in range(0, len(weights) - 2, 2):
        x = activation(x @ weights[i].T + weights[i + 1])
    return x @ weights[-2].T + weights[-1]


def smooth(weights, x):
    return mlp(weights, x, torch.tanh)


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


def reference_code(encoder, x, grads):
    if x.dim() == 4:  # [S, C, H, W]: means over a grid of 4 by 4
        s, c, h, w = x.shape
        x = x.reshape(s, c, 4, h // 4, 4, w // 4).mean((3, 5))
    x, statistics = x.flatten(1), []
    for v, b in zip(encoder.directions.weight, encoder.directions.bias, strict=True):
        statistics.append(sum((v @ row + b) ** 2 for row in x) / len(x))
    statistics += [(g**2).sum() / g.numel() for g in grads]
    z = torch.log(torch.stack(statistics) + 1e-6) / math.log(10)
    z = encoder.hidden.weight @ z + encoder.hidden.bias
    return encoder.code.weight @ (z / (1 + torch.exp(-z))) + encoder.code.bias


def reference_weights(learner, forward, support, b, *, first_order=False):
    theta, steps = list(learner.net.parameters()), learner.inner_steps
    weights, memory = list(theta), [torch.zeros_like(w) for w in theta]
    for t in range(steps):
        loss = task_loss(forward(weights, support.x[b]), support.y[b])
        grads = torch.autograd.grad(loss, weights, create_graph=not first_order)
        if t == 0:
            code = reference_code(learner.encoder, support.x[b], grads)
            numbers = list(learner.generator.weight @ code + learner.generator.bias)
            rules = []
            for i, w in enumerate(theta):
                rates, momenta = ([numbers.pop(0) for _ in range(learner.rates)] for _ in range(2))
                raw = torch.stack([numbers.pop(0) for _ in range(w.shape[1] if w.dim() > 1 else 1)])
                p = torch.exp(raw) / torch.exp(raw).log().mean().exp()
                p = p.reshape(1, -1, *[1] * (w.dim() - 2)) if w.dim() > 1 else p
                if len(learner.log_rates):
                    p = p * torch.exp(learner.log_rates[i])
                rules.append((rates, momenta, p))
            assert not numbers
        for i, (rates, momenta, p) in enumerate(rules):
            j = t if len(rates) > 1 else 0
            memory[i] = torch.tanh(momenta[j]) * memory[i] + p * grads[i]
            weights[i] = weights[i] - learner.inner_lr * torch.exp(rates[j]) * memory[i]
    return weights


def reference(learner, forward, episode, **options):
    total = 0.0
    for b in range(len(episode.support.x)):
        weights = reference_weights(learner, forward, episode.support, b, **options)
        total = total + task_loss(forward(weights, episode.query.x[b]), episode.query.y[b])
    return total / len(episode.support.x)


def own_net():
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))


# name: (the package's network, the reference's, shape of an input)
NETS = {
    "MLP": (lambda: MLP(2, 3, hidden=(5, 4)), mlp, (2,)),
    "Conv4": (lambda: Conv4(1, 3, width=3, size=16), conv4, (1, 16, 16)),
    "own": (own_net, smooth, (2,)),
}


def build(name, likelihood, **options):
    torch.manual_seed(0)
    net, _, x_shape = NETS[name]
    learner = OptimizationEngine(net(), likelihood, x_shape=x_shape, inner_lr=0.05, ceiling=None, **options).double()
    with torch.no_grad():  # away from scales of 1 and shifts of 0, and from an engine that writes plain descent
        for p in learner.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return learner


def draw(x_shape, kind, *, tasks=B, seed=0, size=3):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(tasks, n, *x_shape, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(tasks, -1) % size)
        return Examples(x, torch.randn(tasks, n, size, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def value_and_gradient(loss, parameters):
    return [loss.detach(), *torch.autograd.grad(loss, parameters)]


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    "options",
    [{"inner_steps": 1}, {"inner_steps": 3}, {"inner_steps": 2, "per_step": True, "per_weight": True}],
    ids=["1", "3", "per-step-and-weight"],
)
def test_loss_and_meta_gradient_are_those_of_the_slow_reference(name, options, kind, first_order, device):
    learner = build(name, kind(3), first_order=first_order, **options).to(device)
    episode, parameters = draw(NETS[name][2], kind).to(device), list(learner.parameters())
    expected = reference(learner, NETS[name][1], episode, first_order=first_order)
    close(value_and_gradient(learner.meta_loss(episode), parameters), value_and_gradient(expected, parameters))


@pytest.mark.parametrize("name", NETS)
def test_the_adapted_weights_are_those_of_the_slow_reference(name):
    learner, episode = build(name, Regression(3), inner_steps=3), draw(NETS[name][2], Regression)
    state = learner.adapt(episode.support)
    for b in range(B):
        expected = reference_weights(learner, NETS[name][1], episode.support, b)
        close([v[b] for v in state.weights.values()], expected)


# The gradient by central differences, for every parameter.


class Smooth(nn.Module):
    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(2, 3), Linear(3, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


@pytest.mark.parametrize("likelihood", [Regression(2), Classification(2)], ids=str)
def test_gradcheck_of_the_meta_loss(likelihood):
    torch.manual_seed(0)
    learner = OptimizationEngine(
        Smooth(),
        likelihood,
        x_shape=(2,),
        inner_lr=0.1,
        inner_steps=2,
        per_step=True,
        per_weight=True,
        ceiling=0.5,
        code=2,
    )
    learner.encoder = TaskEncoder((2,), 4, code=2, directions=3)
    learner.double()
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.2 * torch.randn_like(p))
    episode = draw((2,), type(likelihood), tasks=2, size=2)
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The idea switched off, and what must not matter.


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("options", [{}, {"shared": True}, {"per_step": True, "per_weight": True}], ids=str)
def test_with_a_generator_of_zeros_it_is_maml(name, options):
    """One rate, no momentum, the identity: the same loss, and the same gradient in the start, to the last digits."""
    learner = build(name, Regression(3), inner_steps=3, **options)
    with torch.no_grad():
        for p in (learner.generator.weight, learner.generator.bias, *learner.log_rates):
            p.zero_()
    maml = MAML(learner.net, Regression(3), inner_lr=0.05, inner_steps=3)
    episode, parameters = draw(NETS[name][2], Regression), list(learner.net.parameters())
    close(learner.adapt(episode.support).weights.values(), maml.adapt(episode.support).values(), 1e-13)
    ours, theirs = (value_and_gradient(system.meta_loss(episode), parameters) for system in (learner, maml))
    close(ours, theirs, 1e-12)


def test_it_starts_as_maml():
    """A new engine has written nothing yet: the generator starts at zero."""
    net = MLP(2, 3).double()
    engine = OptimizationEngine(net, Regression(3), x_shape=(2,), inner_lr=0.05, ceiling=None).double()
    episode = draw((2,), Regression)
    close(
        [engine.meta_loss(episode)], [MAML(net, Regression(3), inner_lr=0.05, inner_steps=5).meta_loss(episode)], 1e-12
    )


def test_without_a_code_and_with_free_rates_it_is_meta_sgd():
    """One step, rates inner_lr * exp(l) for every weight. By the chain rule d/dl = alpha d/dalpha."""
    learner = build("MLP", Regression(3), inner_steps=1, shared=True, per_weight=True)
    nn.init.zeros_(learner.generator.bias)
    other = MetaSGD(learner.net, Regression(3), inner_lr=0.05).double()
    with torch.no_grad():
        for alpha, log_rate in zip(other.alpha, learner.log_rates, strict=True):
            alpha.copy_(0.05 * log_rate.exp())
    episode = draw((2,), Regression)
    close([learner(episode).mean], [other(episode).mean], 1e-12)
    theta = list(learner.net.parameters())
    ours = torch.autograd.grad(learner.meta_loss(episode), [*theta, *learner.log_rates])
    theirs = torch.autograd.grad(other.meta_loss(episode), [*theta, *other.alpha])
    close(ours[: len(theta)], theirs[: len(theta)], 1e-12)
    close(ours[len(theta) :], [a * g for a, g in zip(other.alpha, theirs[len(theta) :], strict=True)], 1e-12)


def test_a_shared_optimizer_is_the_same_for_all_tasks_and_an_engine_writes_one_for_each():
    episode = draw((2,), Regression)
    for shared in (True, False):
        state = build("MLP", Regression(3), shared=shared).adapt(episode.support)
        for values in state.optimizer:
            for name, v in values.items():
                alike = v.shape[1:].numel() == 1 and values is state.optimizer.preconditioner  # biases: always 1
                assert torch.equal(v[0], v[1]) == (shared or alike), name


def test_without_inner_steps_it_is_the_plain_network():
    learner, episode = build("MLP", Regression(3), inner_steps=0), draw((2,), Regression)
    close([learner(episode).mean], [mlp(list(learner.net.parameters()), episode.query.x)])


def test_calling_the_classes_otherwise_writes_the_same_optimizer():
    """With the rows of the last layer moved along, the code is the same: label numbers do not enter it."""
    learner, episode = build("MLP", Classification(3)), draw((2,), Classification)
    before = learner.adapt(episode.support)
    s = torch.tensor([2, 0, 1])
    with torch.no_grad():
        for p in list(learner.net.parameters())[-2:]:
            p[s] = p.clone()
    after = learner.adapt(Examples(episode.support.x, s[episode.support.y]))
    close([after.code], [before.code], 1e-12)


def test_chunks_of_tasks_do_not_change_the_state():
    learner, episode = build("MLP", Regression(3)), draw((2,), Regression, tasks=5)
    parts = OptimizationEngine(learner.net, Regression(3), x_shape=(2,), inner_lr=0.05, chunk=2).double()
    parts.load_state_dict(learner.state_dict())
    whole, joined = learner.adapt(episode.support), parts.adapt(episode.support)
    close([joined.code, *joined.weights.values()], [whole.code, *whole.weights.values()], 1e-12)
    for a, b in zip(joined.optimizer, whole.optimizer, strict=True):
        close(a.values(), b.values(), 1e-12)


# Arguments.


def test_frozen_parameters_stay_out_and_must_be_frozen_first():
    net = MLP(2, 3, hidden=(5,))
    net.layers[0].requires_grad_(False)
    learner = OptimizationEngine(net, Regression(3), x_shape=(2,)).double()
    state = learner.adapt(draw((2,), Regression).support)
    assert list(state.weights) == list(state.optimizer.rate) == ["layers.1.weight", "layers.1.bias"]
    net.layers[1].bias.requires_grad_(False)
    with pytest.raises(ValueError, match="net: parameters were frozen or freed after the engine was built"):
        learner.adapt(draw((2,), Regression).support)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given; a finite number above 0"),
        ({"inner_steps": -1}, ValueError, "inner_steps: -1 given; at least 0"),
        ({"code": 0}, ValueError, "code: 0 given; at least 1"),
        ({"code": 0, "shared": True}, ValueError, "code: 0 given; at least 1"),
        ({"ceiling": 0.0}, ValueError, "ceiling: 0.0 given; a finite number above 0"),
        ({"chunk": 0}, ValueError, "chunk: 0 given; at least 1"),
        ({"net": nn.BatchNorm1d(2)}, ValueError, r"net: layer net \(BatchNorm1d\) keeps running statistics"),
    ],
)
def test_options_that_do_not_exist(options, error, message):
    net = options.pop("net", MLP(2, 3))
    with pytest.raises(error, match=message):
        OptimizationEngine(net, Regression(3), x_shape=(2,), **options)
