"""Reptile against numbers by hand, and against a slow reference that shares no code with the package.

``gradcheck`` says nothing here: the gradient of the meta-loss is, on purpose, not the slope of its value. In its place
the gradient is held to theta - mean phi, with phi from loops and the optimisers of PyTorch.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.baselines import Joint
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4
from metabook.optimization import Reptile

B = 3
BOTH = pytest.mark.parametrize("optimizer", ["sgd", "adam"])


# By hand: the model y = w x with one parameter and squared error.


def line(w, **options):
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, w)
    return Reptile(net, Regression(), **options)


def points(*xy):
    """One task with these examples."""
    x, y = torch.tensor(xy, dtype=torch.float64).T.reshape(2, 1, -1, 1)
    return Examples(x, y)


def gradient(learner, episode):
    return torch.autograd.grad(learner.meta_loss(episode), learner.net.weight)[0].item()


def test_by_hand_two_minibatches_of_one_point():
    """w = 1, the points (1, 2) and (2, 3), alpha = 0.1.

    (w - 2)^2 has slope 2 (w - 2) = -2, so w_1 = 1.2. (2 w - 3)^2 has slope 4 (2 w - 3) = -2.4 there and value
    (2.4 - 3)^2 = 0.36, so w_2 = 1.44. The gradient is 1 - 1.44.
    """
    episode = Episode(points((1, 2)), points((2, 3)))
    learner = line(1.0, inner_lr=0.1, inner_steps=2, inner_batch=1, inner_optimizer="sgd")
    assert learner.meta_loss(episode).item() == pytest.approx(0.36, abs=1e-14)
    assert gradient(learner, episode) == pytest.approx(-0.44, abs=1e-14)


def test_by_hand_adam_without_momentum():
    """The same with Adam: the first step is one of length 0.1, to 1.1. There the second slope is 4 (2.2 - 3) = -3.2.

    The mean square is (0.999 * 4 + 10.24) / (0.999 + 1), and the second step 0.1 * 3.2 over its root.
    """
    episode = Episode(points((1, 2)), points((2, 3)))
    learner = line(1.0, inner_lr=0.1, inner_steps=2, inner_batch=1, inner_optimizer="adam")
    end = 1.1 + 0.32 / math.sqrt((0.999 * 4 + 10.24) / 1.999)
    assert learner.meta_loss(episode).item() == pytest.approx(0.64, abs=1e-8)
    assert gradient(learner, episode) == pytest.approx(1 - end, abs=1e-8)


@pytest.mark.parametrize(("steps", "best"), [(1, 0.8), (2, 0.96 / 1.32), (50, 0.5)])
def test_by_hand_where_it_comes_to_rest_on_quadratics(steps, best):
    """Losses a/2 (w - b)^2: k steps leave (1 - alpha a)^k of the way to b, so the gradient is a weighted sum of w - b.

    The weights are 1 - (1 - alpha a)^k. For alpha = 0.2, a flat task (a = 1, b = 0) and a steep one (a = 4, b = 1) they
    are 0.2 and 0.8 for k = 1, the joint optimum; 0.36 and 0.96 for k = 2; both 1 for many steps, the plain mean.
    (w x - y)^2 is such a loss with a = 2 x^2 and b = y / x; support and query are the same point.
    """
    flat, steep = math.sqrt(0.5), math.sqrt(2)
    x = torch.tensor([flat, steep], dtype=torch.float64).view(2, 1, 1)
    y = torch.tensor([0, steep], dtype=torch.float64).view(2, 1, 1)
    same = Episode(Examples(x, y), Examples(x, y))
    learner = line(best, inner_lr=0.2, inner_steps=steps, inner_batch=9, inner_optimizer="sgd")
    assert gradient(learner, same) == pytest.approx(0, abs=1e-4 if steps == 50 else 1e-14)
    weights = [1 - 0.8**steps, 1 - 0.2**steps]
    expected = (weights[0] * 3 + weights[1] * 2) / 2
    learner = line(3.0, inner_lr=0.2, inner_steps=steps, inner_batch=9, inner_optimizer="sgd")
    assert gradient(learner, same) == pytest.approx(expected, abs=1e-13)


def test_by_hand_adaptation_uses_the_whole_support_set():
    """Points (1, 2) and (2, 3) at w = 1: mean slope (-2 - 4) / 2 = -3, so w_1 = 1.3. Prediction at 10: 13."""
    learner = line(1.0, inner_lr=0.1, inner_batch=1, inner_optimizer="sgd", test_steps=1)
    assert learner(Episode(points((1, 2), (2, 3)), points((10, 0)))).mean.item() == pytest.approx(13, abs=1e-13)


# The slow reference: a loop over tasks, and PyTorch's own optimisers.


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


def plain_conv4(weights, x):
    for i in range(0, len(weights) - 2, 2):
        x = F.max_pool2d(F.relu(F.conv2d(x, weights[i], weights[i + 1], padding=1)), 2)
    return x.flatten(1) @ weights[-2].T + weights[-1]


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def trained(forward, theta, x, y, *, optimizer, lr, steps, batch):
    """The weights of one task after the steps, and its loss on the last minibatch before the step."""
    weights = [w.detach().clone().requires_grad_() for w in theta]
    if optimizer == "adam":
        optim = torch.optim.Adam(weights, lr=lr, betas=(0.0, 0.999))
    else:
        optim = torch.optim.SGD(weights, lr=lr)
    decks = math.ceil(len(x) / batch)
    for t in range(steps):
        dealt = [i for i in range(len(x)) if i % decks == t % decks]
        loss = task_loss(forward(weights, x[dealt]), y[dealt])
        optim.zero_grad()
        loss.backward()
        optim.step()
    return [w.detach() for w in weights], loss.detach()


def reference(forward, theta, episode, **options):
    """Mean loss and theta - mean phi."""
    ends, losses = [], []
    for support_x, support_y, query_x, query_y in zip(*episode.support, *episode.query, strict=True):
        x, y = torch.cat([support_x, query_x]), torch.cat([support_y, query_y])
        weights, loss = trained(forward, theta, x, y, **options)
        ends.append(weights)
        losses.append(loss)
    mean = [sum(w) / len(ends) for w in zip(*ends, strict=True)]
    return [sum(losses) / len(losses), *(p.detach() - m for p, m in zip(theta, mean, strict=True))]


def own_net():
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))


NETS = {
    "MLP": (lambda: MLP(2, 3, hidden=(5, 4)), mlp, (2,), [None]),
    "Conv4": (lambda: Conv4(1, 3, width=3, size=16), conv4, (1, 16, 16), [None]),
    "plain": (lambda: Conv4(1, 3, width=3, size=16, norm="none"), plain_conv4, (1, 16, 16), [None]),
    "own": (own_net, smooth, (2,), [None, "vmap", "loop"]),
}
# A bias before batch statistics has slope zero but for rounding, which Adam enlarges: there plain steps only.
EVERY = [
    pytest.param(name, how, optimizer, id=f"{name}-{how}-{optimizer}")
    for name, (*_, ways) in NETS.items()
    for how in ways
    for optimizer in ("sgd", "adam")
    if (name, optimizer) != ("Conv4", "adam")
]


def build(name, likelihood, **options):
    torch.manual_seed(0)
    net = NETS[name][0]().double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return Reptile(net, likelihood, **options)


def draw(x_shape, kind, *, tasks=B, seed=0):
    """Four support and five query examples."""
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(tasks, n, *x_shape, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(tasks, -1) % 3)
        return Examples(x, torch.randn(tasks, n, 3, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def value_and_gradient(learner, episode):
    loss = learner.meta_loss(episode)
    return [loss.detach(), *torch.autograd.grad(loss, list(learner.parameters()))]


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize(("name", "how", "optimizer"), EVERY)
@pytest.mark.parametrize(("steps", "batch"), [(1, 9), (3, 4), (5, 4)], ids=["one step", "all once", "again"])
def test_value_and_gradient_are_those_of_the_slow_reference(name, how, kind, optimizer, steps, batch, device):
    options = {"inner_steps": steps, "inner_batch": batch, "inner_optimizer": optimizer}
    learner = build(name, kind(3), inner_lr=0.05, how=how, **options).to(device)
    episode = draw(NETS[name][2], kind).to(device)
    expected = reference(
        NETS[name][1], list(learner.parameters()), episode, optimizer=optimizer, lr=0.05, steps=steps, batch=batch
    )
    close(value_and_gradient(learner, episode), expected)


@pytest.mark.parametrize(("name", "how", "optimizer"), EVERY)
@pytest.mark.parametrize("batch", [None, 3])
def test_the_adapted_weights_are_those_of_the_slow_reference(name, how, optimizer, batch):
    learner = build(
        name, Regression(3), inner_lr=0.05, inner_optimizer=optimizer, test_steps=3, test_batch=batch, how=how
    )
    support, _ = draw(NETS[name][2], Regression)
    for b in range(B):
        expected, _ = trained(
            NETS[name][1],
            list(learner.parameters()),
            support.x[b],
            support.y[b],
            optimizer=optimizer,
            lr=0.05,
            steps=3,
            batch=batch or 4,
        )
        close([v[b] for v in learner.adapt(support).values()], expected)


def test_predictions_are_those_of_the_adapted_weights():
    learner, episode = build("MLP", Regression(3), inner_lr=0.05, test_steps=3), draw((2,), Regression)
    phi = learner.adapt(episode.support)
    expected = [mlp([v[b] for v in phi.values()], episode.query.x[b]) for b in range(B)]
    close([learner(episode).mean], [torch.stack(expected)])


# The outer step, and the idea switched off.


@BOTH
@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_plain_sgd_of_rate_eps_is_the_outer_step_of_the_paper(optimizer, rate):
    """theta + eps (mean phi - theta); with eps = 1 the mean itself."""
    learner = build("MLP", Regression(3), inner_lr=0.05, inner_optimizer=optimizer, inner_batch=2)
    episode = draw((2,), Regression)
    parameters = list(learner.parameters())
    before = [p.detach().clone() for p in parameters]
    _, *away = reference(mlp, parameters, episode, optimizer=optimizer, lr=0.05, steps=5, batch=2)
    mean = [p - d for p, d in zip(before, away, strict=True)]
    learner.meta_loss(episode).backward()
    torch.optim.SGD(parameters, lr=rate).step()
    close([p.detach() for p in parameters], [p + rate * (m - p) for p, m in zip(before, mean, strict=True)])


@pytest.mark.parametrize("name", NETS)
def test_one_step_on_everything_is_joint_training(name):
    """k = 1: theta - mean phi is inner_lr times the gradient of the mean loss over all examples, at theta itself."""
    options = {"inner_lr": 0.05, "inner_steps": 1, "inner_batch": 9, "inner_optimizer": "sgd"}
    learner = build(name, Classification(3), **options)
    episode = draw(NETS[name][2], Classification)
    joint = Joint(learner.net, Classification(3)).meta_loss(episode)
    expected = torch.autograd.grad(joint, list(learner.parameters()))
    value, *grads = value_and_gradient(learner, episode)
    close([value, *grads], [joint.detach(), *(0.05 * g for g in expected)], tolerance=1e-12)


def test_two_steps_are_not_joint_training():
    episode, directions = draw((2,), Classification), []
    for steps in (1, 5):
        learner = build("MLP", Classification(3), inner_lr=0.5, inner_steps=steps, inner_batch=9, inner_optimizer="sgd")
        directions.append(torch.cat([g.flatten() for g in value_and_gradient(learner, episode)[1:]]))
    assert F.cosine_similarity(*directions, dim=0) < 0.99


@pytest.mark.parametrize("name", NETS)
def test_without_test_steps_it_is_the_plain_network(name):
    learner, episode = build(name, Regression(3), test_steps=0), draw(NETS[name][2], Regression)
    expected = [NETS[name][1](list(learner.parameters()), x) for x in episode.query.x]
    close([learner(episode).mean], [torch.stack(expected)])


# What must not matter, and what does.


@pytest.mark.parametrize(("name", "how", "optimizer"), EVERY)
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_changes_nothing(name, how, optimizer, chunk):
    episode = draw(NETS[name][2], Regression)
    options = {"inner_lr": 0.05, "inner_optimizer": optimizer, "inner_batch": 4, "test_steps": 2, "how": how}
    whole, parts = (build(name, Regression(3), chunk=c, **options) for c in (B, chunk))
    close(value_and_gradient(parts, episode), value_and_gradient(whole, episode))
    close(parts.adapt(episode.support).values(), whole.adapt(episode.support).values())
    close([parts(episode).mean], [whole(episode).mean])


def test_the_order_of_the_support_set_matters_with_minibatches_only_and_the_learner_says_so():
    support, query = draw((2,), Regression)
    turned = Examples(support.x.flip(1), support.y.flip(1))
    for batch in (None, 2, 4):
        learner = build("MLP", Regression(3), inner_lr=0.05, test_steps=3, test_batch=batch)
        difference = (learner(Episode(turned, query)).mean - learner(Episode(support, query)).mean).abs().max()
        assert (difference > 1e-6) == (batch == 2)
        assert learner.ordered == (batch is not None)


def test_neither_adaptation_nor_the_outer_gradient_keeps_a_graph_of_the_inner_steps():
    learner, episode = build("MLP", Regression(3), inner_lr=0.05), draw((2,), Regression)
    assert not any(v.requires_grad for v in learner.adapt(episode.support).values())
    gradients = torch.autograd.grad(learner.meta_loss(episode), list(learner.parameters()), create_graph=True)
    assert not any(g.requires_grad for g in gradients)


def test_frozen_parameters_stay_and_the_others_learn():
    learner, episode = build("MLP", Regression(3), inner_lr=0.05, inner_optimizer="sgd"), draw((2,), Regression)
    every = list(learner.parameters())
    for p in every[:-2]:
        p.requires_grad_(False)
    expected = reference(
        lambda head, x: mlp([*every[:-2], *head], x), every[-2:], episode, optimizer="sgd", lr=0.05, steps=5, batch=10
    )
    loss = learner.meta_loss(episode)
    close([loss.detach(), *torch.autograd.grad(loss, every[-2:])], expected)
    assert list(learner.adapt(episode.support)) == ["layers.2.weight", "layers.2.bias"]


def test_layers_that_keep_running_statistics_are_refused():
    with pytest.raises(ValueError, match=r"net: layer 1 \(BatchNorm1d\) keeps running statistics"):
        Reptile(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), Regression(3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given; a finite number above 0"),
        ({"inner_steps": 0}, ValueError, "inner_steps: 0 given; at least 1"),
        ({"inner_batch": 0}, ValueError, "inner_batch: 0 given; at least 1"),
        ({"inner_optimizer": "rms"}, ValueError, "inner_optimizer: 'rms' given; allowed are sgd, adam"),
        ({"test_steps": -1}, ValueError, "test_steps: -1 given; at least 0"),
        ({"test_batch": 0}, ValueError, "test_batch: 0 given; at least 1"),
        ({"chunk": 0}, ValueError, "chunk: 0 given; at least 1"),
    ],
)
def test_options_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        Reptile(MLP(2, 3), Regression(3), **options)


def test_it_is_transductive_with_batch_statistics_only():
    assert build("Conv4", Regression(3)).transductive and not build("MLP", Regression(3)).transductive
