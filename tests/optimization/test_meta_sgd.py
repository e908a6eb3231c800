"""Meta-SGD against numbers by hand, and against a slow reference that shares no code with the package."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear
from metabook.optimization import MAML, MetaSGD
from metabook.tasks.linear import LinearRegression
from metabook.training import train

B = 3


# By hand: linear models, one support and one query example, squared error.


def by_hand(w, alpha, support, query, **options):
    """y = w x, with x, y of the support and of the query example given as (x_1, ..., x_D, y)."""
    net = nn.Linear(len(w), 1, bias=False).double()
    learner = MetaSGD(net, Regression(), **options)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([w], dtype=torch.float64))
        learner.rates["weight"].copy_(torch.tensor([alpha], dtype=torch.float64))
    parts = [torch.tensor([[p]], dtype=torch.float64) for p in (support, query)]
    return learner, Episode(*(Examples(p[..., :-1], p[..., -1:]) for p in parts))


def gradients(learner, episode):
    return [
        g[0].tolist() for g in torch.autograd.grad(learner.meta_loss(episode), [learner.net.weight, *learner.alpha])
    ]


def test_by_hand_one_weight():
    """w = 1, alpha = 0.1, support (1, 2), query (2, 3): g = 2 (1 - 2) = -2, theta' = 1.2, L_Q = (2.4 - 3)^2 = 0.36.

    dL_Q/dtheta' = 4 (2.4 - 3) = -2.4. dtheta'/dtheta = 1 - 2 alpha = 0.8, so the gradient in theta is -1.92.
    dtheta'/dalpha = -g = 2, so the gradient in alpha is -4.8.
    """
    learner, episode = by_hand([1.0], [0.1], (1.0, 2.0), (2.0, 3.0))
    assert learner.adapt(episode.support)["weight"].item() == pytest.approx(1.2, abs=1e-15)
    assert learner.meta_loss(episode).item() == pytest.approx(0.36, abs=1e-14)
    in_theta, in_alpha = gradients(learner, episode)
    assert in_theta == pytest.approx([-1.92]) and in_alpha == pytest.approx([-4.8])


def test_by_hand_two_steps_share_the_rate():
    """The distance to 2 is multiplied by 1 - 2 alpha a step: phi_2 = 2 - (1 - 2 alpha)^2 = 1.36, L_Q = 0.0784.

    dL_Q/dphi_2 = 4 (2.72 - 3) = -1.12; dphi_2/dalpha = 4 (1 - 2 alpha) = 3.2, so the gradient in alpha is -3.584.
    """
    learner, episode = by_hand([1.0], [0.1], (1.0, 2.0), (2.0, 3.0), inner_steps=2)
    assert learner.meta_loss(episode).item() == pytest.approx(0.0784, abs=1e-14)
    in_theta, in_alpha = gradients(learner, episode)
    assert in_theta == pytest.approx([-1.12 * 0.64]) and in_alpha == pytest.approx([-3.584])


@pytest.mark.parametrize(("first_order", "in_theta"), [(False, [2.4, 2.8]), (True, [2.0, 2.0])])
def test_by_hand_two_weights_with_rates_of_both_signs(first_order, in_theta):
    """w = (1, 1), support x = (1, 2), y = 1: error 2, g = 2 * 2 * (1, 2) = (4, 8).

    alpha = (0.1, -0.1): theta' = (0.6, 1.8). Query x = (1, 1), y = 1.4: error 1, v = dL_Q/dtheta' = (2, 2).
    The gradient in alpha is -g o v = (-8, -16). That in theta is v - H (alpha o v), H = 2 x x^T = [[2, 4], [4, 8]],
    so H (0.2, -0.2) = (-0.4, -0.8) is taken off. In first order it is v.
    """
    learner, episode = by_hand([1.0, 1.0], [0.1, -0.1], (1.0, 2.0, 1.0), (1.0, 1.0, 1.4), first_order=first_order)
    assert learner.adapt(episode.support)["weight"].flatten().tolist() == pytest.approx([0.6, 1.8], abs=1e-15)
    assert learner.meta_loss(episode).item() == pytest.approx(1.0, abs=1e-14)
    theta, alpha = gradients(learner, episode)
    assert theta == pytest.approx(in_theta) and alpha == pytest.approx([-8.0, -16.0])


# The slow reference: lists of tensors, a loop over tasks and one over steps.


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


def reference(forward, theta, alpha, episode, *, steps, first_order=False):
    """Adapted weights of every task, and the mean query loss."""
    total, adapted = 0.0, []
    for b in range(len(episode.support.x)):
        weights = list(theta)
        for _ in range(steps):
            loss = task_loss(forward(weights, episode.support.x[b]), episode.support.y[b])
            grads = torch.autograd.grad(loss, weights, create_graph=not first_order)
            weights = [w - a * g for w, a, g in zip(weights, alpha, grads, strict=True)]
        total = total + task_loss(forward(weights, episode.query.x[b]), episode.query.y[b])
        adapted.append(weights)
    return adapted, total / len(episode.support.x)


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
    """Rates of both signs, and weights away from scales of 1 and shifts of 0."""
    torch.manual_seed(0)
    learner = MetaSGD(NETS[name][0](), likelihood, inner_lr=0.05, **options).double()
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return learner


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
def test_loss_and_both_gradients_are_those_of_the_slow_reference(name, how, kind, first_order, steps, device):
    learner = build(name, kind(3), inner_steps=steps, first_order=first_order, how=how).to(device)
    episode = draw(NETS[name][2], kind).to(device)
    theta, alpha = list(learner.net.parameters()), list(learner.alpha)
    adapted, loss = reference(NETS[name][1], theta, alpha, episode, steps=steps, first_order=first_order)
    close(
        value_and_gradient(learner.meta_loss(episode), [*theta, *alpha]),
        value_and_gradient(loss, [*theta, *alpha]),
    )
    phi = learner.adapt(episode.support)
    for b in range(B):
        close([v[b] for v in phi.values()], adapted[b])


# The gradient by central differences, for every weight and every rate.


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
@pytest.mark.parametrize("how", ["stacked", "vmap"])
def test_gradcheck_of_the_meta_loss(how, likelihood):
    torch.manual_seed(0)
    net = Smooth() if how == "stacked" else nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    learner = MetaSGD(net, likelihood, inner_lr=0.3, inner_steps=2, how=how).double()
    episode = draw((2,), type(likelihood), tasks=2)
    classes = isinstance(likelihood, Classification)
    episode = Episode(*(Examples(part.x, part.y % 2 if classes else part.y[..., :2]) for part in episode))
    names, parameters = zip(*learner.named_parameters(), strict=True)
    assert len(names) == 8

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    points = [p.detach() + 0.1 * torch.randn_like(p) for p in parameters]
    assert torch.autograd.gradcheck(meta_loss, [p.requires_grad_() for p in points])


# The idea switched off.


@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("name", NETS)
def test_with_equal_rates_it_is_maml(name, first_order):
    """The same adapted weights, loss and gradient in theta; frozen rates are no meta-parameters."""
    learner = build(name, Regression(3), inner_steps=2, first_order=first_order)
    for rate in learner.rates.values():
        nn.init.constant_(rate.requires_grad_(False), 0.07)
    maml = MAML(learner.net, Regression(3), inner_lr=0.07, inner_steps=2, first_order=first_order)
    episode, theta = draw(NETS[name][2], Regression), list(learner.net.parameters())
    assert [p for p in learner.parameters() if p.requires_grad] == theta
    close(
        value_and_gradient(learner.meta_loss(episode), theta),
        value_and_gradient(maml.meta_loss(episode), theta),
        tolerance=1e-12,
    )
    close(learner.adapt(episode.support).values(), maml.adapt(episode.support).values(), tolerance=1e-12)
    close([learner(episode).mean], [maml(episode).mean], tolerance=1e-12)


def test_trained_with_frozen_rates_it_is_maml_step_by_step():
    tasks, curves = LinearRegression(dim=2, shots=5), []
    for kind in (MetaSGD, MAML):
        torch.manual_seed(0)
        learner = kind(MLP(2, 1, hidden=(4,)), Regression(), inner_lr=0.05, inner_steps=2)
        getattr(learner, "alpha", nn.ParameterList()).requires_grad_(False)
        curves.append(train(learner, tasks, steps=10, batch=4, lr=1e-2, device="cpu", progress="none").losses)
    assert curves[0] == pytest.approx(curves[1], rel=1e-5) and len(set(curves[0])) > 1


def test_the_gradients_of_equal_rates_add_up_to_that_of_the_one_rate_of_maml():
    """By the chain rule, with MAML's derivative in its rate by central differences."""
    learner, episode = build("own", Regression(3), inner_steps=2), draw((2,), Regression)
    for rate in learner.rates.values():
        nn.init.constant_(rate, 0.07)
    total = sum(g.sum() for g in torch.autograd.grad(learner.meta_loss(episode), list(learner.alpha)))
    ends = [
        MAML(learner.net, Regression(3), inner_lr=0.07 + e, inner_steps=2).meta_loss(episode) for e in (1e-6, -1e-6)
    ]
    torch.testing.assert_close(total, (ends[0] - ends[1]).detach() / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", NETS)
def test_at_rates_of_zero_it_is_the_plain_network_and_asks_whether_two_gradients_agree(name):
    """dL_Q/dalpha_j = -g_j v_j: a rate grows where the support and the query gradient point the same way."""
    learner, episode = build(name, Regression(3)), draw(NETS[name][2], Regression, tasks=1)
    for rate in learner.rates.values():
        nn.init.zeros_(rate)
    theta = list(learner.net.parameters())
    losses = [task_loss(NETS[name][1](theta, part.x[0]), part.y[0]) for part in episode]
    g, v = (torch.autograd.grad(loss, theta) for loss in losses)
    expected = [losses[1].detach(), *v, *(-a * b for a, b in zip(g, v, strict=True))]
    close(value_and_gradient(learner.meta_loss(episode), [*theta, *learner.alpha]), expected)


# What must not matter, what is there to be seen, and what is refused.


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_changes_nothing(name, chunk):
    episode = draw(NETS[name][2], Regression)
    whole, parts = (build(name, Regression(3), inner_steps=2, chunk=c) for c in (B, chunk))
    ours, theirs = (value_and_gradient(m.meta_loss(episode), list(m.parameters())) for m in (parts, whole))
    close(ours, theirs, tolerance=1e-10)
    close([parts(episode).mean], [whole(episode).mean], tolerance=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_the_rates_are_named_and_shaped_as_the_weights_and_start_equal(name):
    learner = MetaSGD(NETS[name][0](), Regression(3), inner_lr=0.25)
    rates = learner.rates
    assert {k: v.shape for k, v in rates.items()} == {k: p.shape for k, p in learner.net.named_parameters()}
    assert all((v == 0.25).all() and v.requires_grad for v in rates.values())
    assert all(any(v is p for p in learner.parameters()) for v in rates.values())


def test_frozen_weights_do_not_move_and_their_rates_are_not_used():
    learner, episode = build("MLP", Regression(3), inner_steps=2), draw((2,), Regression)
    *body, weight, bias = learner.net.parameters()
    for p in body:
        p.requires_grad_(False)
    assert list(learner.adapt(episode.support)) == ["layers.2.weight", "layers.2.bias"]
    theta, alpha = [weight, bias], list(learner.alpha)[-2:]
    loss = reference(lambda head, x: mlp([*body, *head], x), theta, alpha, episode, steps=2)[1]
    close(
        value_and_gradient(learner.meta_loss(episode), [*theta, *alpha]),
        value_and_gradient(loss, [*theta, *alpha]),
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given; a finite number above 0"),
        ({"inner_lr": (0.005, 0.1)}, TypeError, "inner_lr: .* given; a number above 0"),
        ({"inner_steps": -1}, ValueError, "inner_steps: -1 given; at least 0"),
        ({"chunk": 0}, ValueError, "chunk: 0 given; at least 1"),
        ({"net": nn.BatchNorm1d(3)}, ValueError, r"net: layer net \(BatchNorm1d\) keeps running statistics, "),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MetaSGD(**{"net": MLP(2, 1), "likelihood": Regression(), **options})
