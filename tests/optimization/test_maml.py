"""MAML against numbers by hand, and against a slow reference that shares no code with the package."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear
from metabook.optimization import MAML

B = 3


# By hand: the model y = w x with one parameter, one support and one query example, squared error.


def by_hand(**options):
    """w = 1, support (x, y) = (1, 2), query (2, 3)."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(net.weight)
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 2.0, 2.0, 3.0)]
    return MAML(net, Regression(), **options), Episode(Examples(*point[:2]), Examples(*point[2:]))


def meta_gradient(learner, episode):
    return torch.autograd.grad(learner.meta_loss(episode), learner.net.weight)[0].item()


def test_by_hand_one_step():
    """L_S(w) = (w - 2)^2, gradient 2 (w - 2) = -2, so theta' = 1 + 0.1 * 2 = 1.2 with alpha = 0.1.

    L_Q = (2 * 1.2 - 3)^2 = 0.36. dL_Q/dtheta' = 2 * 2 * (2.4 - 3) = -2.4.
    d theta'/d theta = 1 - alpha * 2 x^2 = 0.8, so the meta-gradient is -2.4 * 0.8 = -1.92.
    """
    learner, episode = by_hand(inner_lr=0.1)
    assert learner.adapt(episode.support)["weight"].item() == pytest.approx(1.2, abs=1e-15)
    assert learner.meta_loss(episode).item() == pytest.approx(0.36, abs=1e-14)
    assert meta_gradient(learner, episode) == pytest.approx(-1.92, abs=1e-14)


def test_by_hand_two_steps():
    """theta'' = 2 + 0.8^2 (1 - 2) = 1.36. L_Q = (2.72 - 3)^2 = 0.0784. dL_Q/dtheta'' = 4 (2.72 - 3) = -1.12.

    The second-order factor is 0.8 for each step: -1.12 * 0.64 = -0.7168.
    """
    learner, episode = by_hand(inner_lr=0.1, inner_steps=2)
    assert learner.adapt(episode.support)["weight"].item() == pytest.approx(1.36, abs=1e-15)
    assert learner.meta_loss(episode).item() == pytest.approx(0.0784, abs=1e-14)
    assert meta_gradient(learner, episode) == pytest.approx(-0.7168, abs=1e-14)


@pytest.mark.parametrize(("steps", "loss", "gradient"), [(1, 0.36, -2.4), (2, 0.0784, -1.12)])
def test_by_hand_first_order(steps, loss, gradient):
    """The same weights and losses; the factors 0.8 are left out of the gradient."""
    learner, episode = by_hand(inner_lr=0.1, inner_steps=steps, first_order=True)
    assert learner.meta_loss(episode).item() == pytest.approx(loss, abs=1e-14)
    assert meta_gradient(learner, episode) == pytest.approx(gradient, abs=1e-14)


def test_by_hand_the_prediction_is_that_of_the_adapted_weight():
    """theta' x = 1.2 * 2 = 2.4, before adaptation 2."""
    learner, episode = by_hand(inner_lr=0.1)
    assert learner(episode).mean.item() == pytest.approx(2.4, abs=1e-15)


# The slow reference: lists of tensors, a loop over tasks and one over steps.


def mlp(weights, x, activation=F.relu):
    for i in range(0, len(weights) - 2, 2):
        x = activation(x @ weights[i].T + weights[i + 1])
    return x @ weights[-2].T + weights[-1]


def smooth(weights, x):
    return mlp(weights, x, torch.tanh)


def conv4(weights, x):
    """The published order: convolution, batch norm with the task's statistics, ReLU, max-pool."""
    for i in range(0, len(weights) - 2, 4):
        kernel, bias, scale, shift = weights[i : i + 4]
        x = F.batch_norm(F.conv2d(x, kernel, bias, padding=1), None, None, scale, shift, training=True)
        x = F.max_pool2d(F.relu(x), 2)
    return x.flatten(1) @ weights[-2].T + weights[-1]


def reference(forward, theta, episode, *, lr, steps, first_order=False):
    total = 0.0
    for b in range(len(episode.support.x)):
        weights = list(theta)
        for _ in range(steps):
            loss = task_loss(forward(weights, episode.support.x[b]), episode.support.y[b])
            grads = torch.autograd.grad(loss, weights, create_graph=not first_order)
            weights = [w - lr * g for w, g in zip(weights, grads, strict=True)]
        total = total + task_loss(forward(weights, episode.query.x[b]), episode.query.y[b])
    return total / len(episode.support.x)


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def own_net():
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))


# name: (the package's network, the reference's, shape of an input, ways to map)
NETS = {
    "MLP": (lambda: MLP(2, 3, hidden=(5, 4)), mlp, (2,), [None]),
    "Conv4": (lambda: Conv4(1, 3, width=3, size=16), conv4, (1, 16, 16), [None]),
    "own": (own_net, smooth, (2,), [None, "vmap", "loop"]),
}
EVERY_NET = [pytest.param(name, how, id=f"{name}-{how}") for name, (*_, ways) in NETS.items() for how in ways]


def build(name, likelihood, **options):
    torch.manual_seed(0)
    net = NETS[name][0]().double()
    with torch.no_grad():  # away from scales of 1 and shifts of 0
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return MAML(net, likelihood, **options)


def draw(x_shape, kind, *, tasks=B, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(tasks, n, *x_shape, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(tasks, -1) % 3)
        return Examples(x, torch.randn(tasks, n, 3, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def value_and_gradient(loss, parameters):
    return [loss.detach(), *torch.autograd.grad(loss, parameters)]


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize(("name", "how"), EVERY_NET)
@pytest.mark.parametrize("steps", [1, 3])
def test_loss_and_meta_gradient_are_those_of_the_slow_reference(name, how, kind, first_order, steps, device):
    options = {"steps": steps, "first_order": first_order}
    learner = build(name, kind(3), inner_lr=0.1, inner_steps=steps, first_order=first_order, how=how).to(device)
    episode = draw(NETS[name][2], kind).to(device)
    parameters = list(learner.parameters())
    expected = reference(NETS[name][1], parameters, episode, lr=0.1, **options)
    close(value_and_gradient(learner.meta_loss(episode), parameters), value_and_gradient(expected, parameters))


@pytest.mark.parametrize(("name", "how"), EVERY_NET)
def test_the_adapted_weights_are_those_of_the_slow_reference(name, how):
    learner = build(name, Regression(3), inner_lr=0.1, inner_steps=2, how=how)
    episode = draw(NETS[name][2], Regression)
    for b in range(B):
        weights = list(learner.parameters())
        for _ in range(2):
            loss = task_loss(NETS[name][1](weights, episode.support.x[b]), episode.support.y[b])
            weights = [w - 0.1 * g for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True)]
        close([v[b] for v in learner.adapt(episode.support).values()], weights)


# The gradient by central differences, for every parameter.


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


@pytest.mark.parametrize("likelihood", [Regression(2), Classification(2)], ids=str)
@pytest.mark.parametrize("how", ["stacked", "vmap", "loop"])
def test_gradcheck_of_the_meta_loss(how, likelihood):
    torch.manual_seed(0)
    net = Smooth() if how == "stacked" else nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    learner = MAML(net.double(), likelihood, inner_lr=0.3, inner_steps=2, how=how)
    episode = draw((2,), type(likelihood), tasks=2)
    classes = isinstance(likelihood, Classification)
    episode = Episode(*(Examples(part.x, part.y % 2 if classes else part.y[..., :2]) for part in episode))
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The idea switched off, and what must not matter.


@pytest.mark.parametrize("name", NETS)
def test_without_inner_steps_it_is_the_plain_network(name):
    learner = build(name, Regression(3), inner_steps=0)
    episode = draw(NETS[name][2], Regression)
    expected = torch.stack([NETS[name][1](list(learner.parameters()), x) for x in episode.query.x])
    close([learner(episode).mean], [expected])
    loss = (expected - episode.query.y).square().sum(-1).mean()
    parameters = list(learner.parameters())
    close(
        value_and_gradient(learner.meta_loss(episode), parameters),
        value_and_gradient(loss, parameters),
    )


@pytest.mark.parametrize("name", NETS)
def test_small_inner_rates_take_straight_steps_and_leave_the_plain_gradient(name):
    """As alpha goes to 0: theta_T = theta - alpha T grad L_S(theta), and the meta-gradient is grad L_Q(theta)."""
    learner = build(name, Regression(3), inner_lr=1e-8, inner_steps=3)
    episode, parameters = draw(NETS[name][2], Regression, tasks=1), list(learner.parameters())
    at_support = task_loss(NETS[name][1](parameters, episode.support.x[0]), episode.support.y[0])
    phi = learner.adapt(episode.support).values()
    steps = [(v[0] - p) / -3e-8 for v, p in zip(phi, parameters, strict=True)]
    close(steps, torch.autograd.grad(at_support, parameters), tolerance=1e-4)
    at_query = task_loss(NETS[name][1](parameters, episode.query.x[0]), episode.query.y[0])
    close(
        torch.autograd.grad(learner.meta_loss(episode), parameters),
        torch.autograd.grad(at_query, parameters),
        tolerance=1e-4,
    )


@pytest.mark.parametrize("name", NETS)
def test_the_first_order_gradient_is_that_of_the_query_loss_at_phi(name):
    learner = build(name, Classification(3), inner_lr=0.1, inner_steps=2, first_order=True)
    episode, parameters = draw(NETS[name][2], Classification), list(learner.parameters())
    with torch.no_grad():
        state = learner.adapt(episode.support)
    phi = {k: v.requires_grad_() for k, v in state.items()}
    loss = learner.likelihood.loss(learner.predict(phi, episode.query.x).logits, episode.query.y).mean()
    at_phi = [g.sum(0) for g in torch.autograd.grad(loss, list(phi.values()))]
    close(torch.autograd.grad(learner.meta_loss(episode), parameters), at_phi, tolerance=1e-10)


def test_the_second_order_terms_are_there_when_asked_for():
    episode = draw((2,), Regression)
    gradients = []
    for first_order in (False, True):
        learner = build("MLP", Regression(3), inner_lr=0.1, inner_steps=2, first_order=first_order)
        gradients.append(value_and_gradient(learner.meta_loss(episode), list(learner.parameters()))[1])
    assert (gradients[0] - gradients[1]).norm() > 1e-3 * gradients[0].norm()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_the_chunk_changes_nothing(name, chunk):
    episode = draw(NETS[name][2], Regression)
    whole, parts = (build(name, Regression(3), inner_lr=0.1, inner_steps=2, chunk=c) for c in (B, chunk))
    ours, theirs = (value_and_gradient(m.meta_loss(episode), list(m.parameters())) for m in (parts, whole))
    close(ours, theirs, tolerance=1e-10)
    close([parts(episode).mean], [whole(episode).mean], tolerance=1e-10)
    close(parts.adapt(episode.support).values(), whole.adapt(episode.support).values(), tolerance=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_adaptation_without_a_graph_is_the_same(name):
    learner, episode = build(name, Regression(3), inner_lr=0.1, inner_steps=3), draw(NETS[name][2], Regression)
    with torch.no_grad():
        state, prediction = learner.adapt(episode.support), learner(episode).mean
    assert not any(v.requires_grad for v in state.values())
    close(state.values(), learner.adapt(episode.support).values(), tolerance=1e-10)
    close([prediction], [learner(episode).mean], tolerance=1e-10)


# Frozen parameters, and layers that cannot be used.


@pytest.mark.parametrize(("name", "how"), EVERY_NET)
def test_frozen_parameters_are_a_feature_extractor_that_all_tasks_share(name, how):
    """Only the last layer adapts; the slow reference takes features that are constants."""
    learner, episode = build(name, Regression(3), inner_lr=0.1, inner_steps=2, how=how), draw(NETS[name][2], Regression)
    every = list(learner.parameters())
    for p in every[:-2]:
        p.requires_grad_(False)
    state = learner.adapt(episode.support)
    assert [v.shape[1:] for v in state.values()] == [p.shape for p in every[-2:]]
    expected = reference(lambda head, x: NETS[name][1]([*every[:-2], *head], x), every[-2:], episode, lr=0.1, steps=2)
    close(value_and_gradient(learner.meta_loss(episode), every[-2:]), value_and_gradient(expected, every[-2:]))
    with torch.no_grad():
        close(learner.adapt(episode.support).values(), state.values(), tolerance=1e-10)


def test_a_network_that_is_frozen_altogether_is_refused_and_does_not_pass_for_adapted():
    learner, episode = build("own", Regression(3)), draw((2,), Regression)
    learner.requires_grad_(False)
    with pytest.raises(ValueError, match="net: no parameter requires a gradient; gradient steps need at least one"):
        learner(episode)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), r"net: layer 1 \(BatchNorm1d\) keeps running statistics, "),
        (
            nn.InstanceNorm2d(3, track_running_stats=True),
            r"net: layer net \(InstanceNorm2d\) keeps running statistics,",
        ),
    ],
    ids=["within", "itself"],
)
def test_layers_that_keep_running_statistics_are_refused_by_name(net, message):
    with pytest.raises(ValueError, match=message + ".*TaskBatchNorm, or track_running_stats=False"):
        MAML(net, Regression())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given; a finite number above 0"),
        ({"inner_lr": "fast"}, TypeError, "inner_lr: 'fast' given"),
        ({"inner_steps": -1}, ValueError, "inner_steps: -1 given; at least 0"),
        ({"inner_steps": 1.5}, TypeError, "inner_steps: 1.5 given"),
        ({"chunk": 0}, ValueError, "chunk: 0 given; at least 1"),
    ],
)
def test_options_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        MAML(MLP(2, 3), Regression(3), **options)


def test_it_is_transductive_with_batch_statistics_only():
    assert build("Conv4", Regression(3)).transductive and not build("MLP", Regression(3)).transductive
    assert MAML(nn.BatchNorm1d(3, track_running_stats=False), Regression(3)).transductive
