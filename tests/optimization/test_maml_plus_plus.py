"""MAML++ against numbers by hand, and against a slow reference that shares no code with the package."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear
from metabook.optimization.maml import MAML
from metabook.optimization.maml_plus_plus import MAMLPlusPlus, step_importance

B = 3


# By hand: the model y = w x with one parameter, one support and one query example, squared error.


def by_hand(rates, **options):
    """w = 1, support (x, y) = (1, 2), query (2, 3)."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(net.weight)
    learner = MAMLPlusPlus(net, Regression(), inner_steps=len(rates), **options).double()
    with torch.no_grad():
        learner.alpha.copy_(torch.tensor(rates).unsqueeze(1))
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 2.0, 2.0, 3.0)]
    return learner, Episode(Examples(*point[:2]), Examples(*point[2:]))


def value_and_gradients(learner, episode):
    loss = learner.meta_loss(episode)
    start, alpha = torch.autograd.grad(loss, [learner.net.weight, learner.alpha])
    return [loss.item(), start.item(), *alpha.flatten().tolist()]


def test_by_hand_two_steps_with_rates_and_weights_of_their_own():
    """alpha = (1/4, 1/8), v = (1/4, 3/4). L_S = (w - 2)^2, gradient 2 (w - 2); L_Q = (2 w - 3)^2, gradient 4 (2 w - 3).

    w_0 = 1; w_1 = 1 + 2/4 = 3/2; w_2 = 3/2 + 1/8 = 13/8. L_Q: 0 at w_1, (1/4)^2 = 1/16 at w_2: 3/64 in all.
    dL_Q = 0 at w_1 and 4/4 = 1 at w_2, so v_2 dL_Q = 3/4 is what goes back.
    d w_2 / d w_1 = 1 - 2/8 = 3/4 and d w_1 / d w_0 = 1 - 2/4 = 1/2: the start's gradient is 3/4 * 3/8 = 9/32.
    d w_2 / d alpha_2 = 1, so 3/4; d w_1 / d alpha_1 = 2, so 3/4 * 3/4 * 2 = 9/8.
    """
    learner, episode = by_hand([0.25, 0.125], step_weights=(0.25, 0.75))
    assert learner.adapt(episode.support)["weight"].item() == pytest.approx(13 / 8, abs=1e-14)
    assert value_and_gradients(learner, episode) == pytest.approx([3 / 64, 9 / 32, 9 / 8, 3 / 4], abs=1e-13)


def test_by_hand_every_step_with_weight_is_scored_on_the_queries():
    """alpha = (1/8, 1/4), v = (1/2, 1/2): w_1 = 5/4 and w_2 = 5/4 + 3/8 = 13/8; L_Q = 1/4 and 1/16, mean 5/32.

    dL_Q = -2 and 1; d w_1 / d w_0 = 3/4, d w_2 / d w_1 = 1/2.
    Start: (-2 * 3/4 + 1 * 3/8) / 2 = -9/16. alpha_1: d w_1 = 2, so (-2 * 2 + 1/2 * 2) / 2 = -3/2.
    alpha_2: d w_2 = 3/2, so 3/4.
    """
    learner, episode = by_hand([0.125, 0.25], step_weights=(0.5, 0.5))
    assert value_and_gradients(learner, episode) == pytest.approx([5 / 32, -9 / 16, -3 / 2, 3 / 4], abs=1e-13)


def test_by_hand_first_order_leaves_the_factors_out_and_still_trains_the_rates():
    """The same path; d w_t / d w_{t-1} = 1. Start: (-2 + 1) / 2 = -1/2. alpha_1: -1 * 2 / 2 = -1. alpha_2: 3/4."""
    learner, episode = by_hand([0.125, 0.25], step_weights=(0.5, 0.5), first_order=True)
    assert value_and_gradients(learner, episode) == pytest.approx([5 / 32, -1 / 2, -1, 3 / 4], abs=1e-13)


def test_by_hand_importance():
    """T = 4: 1/4 each; half way 1/8 each and 5/8 for the last; at the end the last alone."""
    assert step_importance(4) == (0.25,) * 4
    assert step_importance(4, 0.5) == (0.125, 0.125, 0.125, 0.625)
    assert step_importance(4, 1) == (0.0, 0.0, 0.0, 1.0)
    assert step_importance(1, 0.3) == (1.0,)


@pytest.mark.parametrize("steps", [1, 2, 5, 7])
@pytest.mark.parametrize("annealed", [0, 0.1, 0.5, 0.97, 1.0])
def test_importance_is_that_of_the_epochs_of_the_paper(steps, annealed):
    """After e of E epochs: 1/T - e / (T E) for every step but the last, which gets what they lose. No floor."""
    weights = [1 / steps - annealed / steps] * (steps - 1)
    assert step_importance(steps, annealed) == pytest.approx([*weights, 1 / steps + (steps - 1) * annealed / steps])


# The slow reference: lists of tensors, a loop over tasks and one over steps.


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


def reference(forward, theta, alpha, episode, *, step_weights, first_order=False):
    losses = []
    for x, y, query_x, query_y in zip(*episode.support, *episode.query, strict=True):
        weights = list(theta)
        for rates, v in zip(alpha, step_weights, strict=True):
            grads = torch.autograd.grad(task_loss(forward(weights, x), y), weights, create_graph=not first_order)
            weights = [w - a * g for w, a, g in zip(weights, rates, grads, strict=True)]
            losses.append(v * task_loss(forward(weights, query_x), query_y) / len(episode.support.x))
    return sum(losses)


# name: (the package's network, the reference's, shape of an input, ways to map)
NETS = {
    "MLP": (lambda: MLP(2, 3, hidden=(5, 4)), mlp, (2,), [None]),
    "Conv4": (lambda: Conv4(1, 3, width=3, size=16), conv4, (1, 16, 16), [None]),
    "own": (
        lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)),
        lambda w, x: mlp(w, x, torch.tanh),
        (2,),
        [None, "vmap", "loop"],
    ),
}
EVERY_NET = [pytest.param(name, how, id=f"{name}-{how}") for name, (*_, ways) in NETS.items() for how in ways]
WEIGHTS = (0.2, 0.3, 0.5)


def build(name, likelihood, **options):
    torch.manual_seed(0)
    learner = MAMLPlusPlus(
        NETS[name][0](), likelihood, **{"inner_lr": 0.1, "inner_steps": 3, "step_weights": WEIGHTS, **options}
    ).double()
    with torch.no_grad():  # away from equal rates, scales of 1 and shifts of 0
        for p in learner.net.parameters():
            p.add_(0.1 * torch.randn_like(p))
        if learner.alpha.requires_grad:
            learner.alpha.add_(0.05 * torch.randn_like(learner.alpha))
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


@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize(("name", "how"), EVERY_NET)
def test_loss_and_meta_gradient_are_those_of_the_slow_reference(name, how, kind, first_order, device):
    learner = build(name, kind(3), first_order=first_order, how=how).to(device)
    episode = draw(NETS[name][2], kind).to(device)
    parameters, theta = list(learner.parameters()), list(learner.net.parameters())
    options = {"step_weights": WEIGHTS, "first_order": first_order}
    expected = reference(NETS[name][1], theta, learner.alpha, episode, **options)
    close(value_and_gradient(learner.meta_loss(episode), parameters), value_and_gradient(expected, parameters))


# The gradient by central differences, for every parameter, the rates included.


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
def test_gradcheck_of_the_meta_loss(how, kind):
    torch.manual_seed(0)
    net = Smooth() if how == "stacked" else nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    learner = MAMLPlusPlus(net, kind(2), inner_lr=0.3, inner_steps=2, how=how).double()
    episode = draw((2,), kind, tasks=2, outputs=2)
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The remedies switched off, and what must not matter.


@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", NETS)
def test_equal_fixed_rates_and_the_last_step_alone_are_maml(name, kind, first_order):
    options = {"inner_steps": 3, "first_order": first_order}
    learner = build(name, kind(3), step_weights=step_importance(3, 1), learn_rates=False, **options)
    maml = MAML(learner.net, kind(3), inner_lr=0.1, **options)
    assert [n for n, p in learner.named_parameters() if p.requires_grad] == [n for n, _ in maml.named_parameters()]
    episode, parameters = draw(NETS[name][2], kind), list(learner.net.parameters())
    with torch.no_grad():
        learner.alpha.fill_(0.1)  # the double nearest to 0.1, not the float
    close(learner.adapt(episode.support).values(), maml.adapt(episode.support).values(), tolerance=1e-12)
    ours, theirs = (value_and_gradient(m.meta_loss(episode), parameters) for m in (learner, maml))
    close(ours, theirs, tolerance=1e-12)


def test_the_multi_step_loss_is_the_mean_of_mamls_with_one_to_three_steps():
    learner = build("MLP", Regression(3), step_weights=None, learn_rates=False)
    with torch.no_grad():
        learner.alpha.fill_(0.1)
    episode, parameters = draw((2,), Regression), list(learner.net.parameters())
    mamls = [MAML(learner.net, Regression(3), inner_lr=0.1, inner_steps=t) for t in (1, 2, 3)]
    expected = torch.stack([maml.meta_loss(episode) for maml in mamls]).mean()
    close(value_and_gradient(learner.meta_loss(episode), parameters), value_and_gradient(expected, parameters))


def test_the_second_order_terms_are_there_when_asked_for():
    episode, gradients = draw((2,), Regression), []
    for first_order in (False, True):
        learner = build("MLP", Regression(3), first_order=first_order)
        gradients.append(value_and_gradient(learner.meta_loss(episode), list(learner.parameters()))[1])
    assert (gradients[0] - gradients[1]).norm() > 1e-3 * gradients[0].norm()


def test_the_next_phase_takes_over_start_and_rates():
    """Another importance and another order: the same parameters, and the same adaptation."""
    episode = draw((2,), Regression)
    first = build("MLP", Regression(3), step_weights=None, first_order=True)
    second = MAMLPlusPlus(MLP(2, 3, hidden=(5, 4)), Regression(3), inner_steps=3, step_weights=WEIGHTS).double()
    second.load_state_dict(first.state_dict())
    close(second.adapt(episode.support).values(), first.adapt(episode.support).values(), tolerance=0)


def test_rates_of_three_steps_do_not_fit_four():
    """Step four would have no rate, and none is made up."""
    longer = MAMLPlusPlus(MLP(2, 3, hidden=(5, 4)), Regression(3), inner_steps=4).double()
    with pytest.raises(RuntimeError, match="size mismatch for alpha"):
        longer.load_state_dict(build("MLP", Regression(3)).state_dict())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_changes_nothing(name, chunk):
    episode = draw(NETS[name][2], Regression)
    whole, parts = (build(name, Regression(3), chunk=c) for c in (B, chunk))
    ours, theirs = (value_and_gradient(m.meta_loss(episode), list(m.parameters())) for m in (parts, whole))
    close(ours, theirs, tolerance=1e-10)
    close(parts.adapt(episode.support).values(), whole.adapt(episode.support).values(), tolerance=1e-10)


def test_frozen_parameters_stay_and_keep_their_column_of_rates():
    learner, episode = build("MLP", Regression(3)), draw((2,), Regression)
    full = learner.alpha.shape
    learner.net.layers[0].requires_grad_(False)
    assert learner.alpha.shape == full == (3, 6)
    rest = [n for n, _ in learner.net.named_parameters() if not n.startswith("layers.0")]
    assert list(learner.adapt(episode.support)) == rest


# What cannot be used.


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, 0.4, 0.3), (1.5, -0.5, 0.0), (1.0, 0.0, math.nan), ()])
def test_step_weights_that_are_none(weights):
    with pytest.raises(ValueError, match=r"step_weights: \(.* given; 3 numbers of at least 0 that add up to 1"):
        MAMLPlusPlus(MLP(2, 3), Regression(3), inner_steps=3, step_weights=weights)


def test_layers_that_keep_running_statistics_are_refused_by_name():
    with pytest.raises(ValueError, match=r"net: layer 1 \(BatchNorm1d\) keeps running statistics"):
        MAMLPlusPlus(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), Regression(3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_steps": 0}, ValueError, "inner_steps: 0 given; at least 1"),
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given; a finite number above 0"),
        ({"chunk": 0}, ValueError, "chunk: 0 given; at least 1"),
    ],
)
def test_options_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        MAMLPlusPlus(MLP(2, 3), Regression(3), **options)


@pytest.mark.parametrize("annealed", [-0.1, 1.1, math.nan, "half"])
def test_annealing_beyond_its_ends(annealed):
    with pytest.raises(ValueError, match=r"annealed: .* given; a number from 0 to 1"):
        step_importance(3, annealed)
