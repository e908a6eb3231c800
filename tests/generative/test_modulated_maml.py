"""Modulated MAML against numbers by hand, and against a slow reference that shares no code with the package."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.generative import ModulatedMAML
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Chain, Conv4, Film, Linear, PairEncoder, Pixels, add_film
from metabook.optimization import MAML

B, C = 3, 4


class MeanTarget(nn.Module):
    """The code by hand: the mean of the targets."""

    def forward(self, x, y):
        return y.mean(1)


def by_hand(**options):
    """y = u (w x (1 + scale) + shift), w = u = 1; scale = code / 4, shift = code / 2. Support (1, 2), query (2, 1)."""
    net = Chain(Linear(1, 1, bias=False), Film(1), Linear(1, 1, bias=False))
    learner = ModulatedMAML(net, MeanTarget(), Regression(), code=1, inner_lr=0.1, **options).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[2].weight.fill_(1.0)
        learner.generator.weight.copy_(torch.tensor([[0.25], [0.5]]))
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 2.0, 2.0, 1.0)]
    return learner, Episode(Examples(*point[:2]), Examples(*point[2:]))


def test_by_hand():
    """The code is 2, so scale 0.5 and shift 1: h = 1.5 + 1 = 2.5, prediction 2.5, error 0.5.

    dL/du = 2 * 0.5 * 2.5 = 2.5 and dL/dw = 2 * 0.5 * 1.5 = 1.5, so u' = 0.75 and w' = 0.85.
    Query: h = 0.85 * 2 * 1.5 + 1 = 3.55, prediction 0.75 * 3.55 = 2.6625, loss 1.6625^2. In first order its gradient
    in u is 2 * 1.6625 * 3.55.
    """
    learner, episode = by_hand(first_order=True)
    state = learner.adapt(episode.support)
    assert state.code.item() == 2 and [v.item() for v in state.modulation.values()] == [0.5, 1.0]
    assert [v.item() for v in state.weights.values()] == pytest.approx([0.85, 0.75], abs=1e-14)
    loss = learner.meta_loss(episode)
    assert loss.item() == pytest.approx(1.6625**2, abs=1e-13)
    assert torch.autograd.grad(loss, learner.net[2].weight)[0].item() == pytest.approx(2 * 1.6625 * 3.55, abs=1e-12)


def test_by_hand_the_gradient_of_the_generator():
    """Without steps the prediction is 2 * 1.5 + 1 = 4 and the error 3, so dL/dshift = 6 and dL/dscale = 6 * 2 = 12.

    Scale and shift are the generator's weights times the code 2: gradients 24 and 12.
    """
    learner, episode = by_hand(inner_steps=0)
    loss = learner.meta_loss(episode)
    grad = torch.autograd.grad(loss, learner.generator.weight)[0]
    assert loss.item() == 9 and grad.flatten().tolist() == pytest.approx([24, 12], abs=1e-12)


# The slow reference: a loop over tasks and one over steps; the set is read pair by pair.


def mlp(weights, x, tau):
    for i in range(0, len(weights) - 2, 2):
        gamma, beta = tau[i], tau[i + 1]
        x = F.relu((x @ weights[i].T + weights[i + 1]) * (1 + gamma) + beta)
    return x @ weights[-2].T + weights[-1]


def conv4(weights, x, tau):
    for block in range(2):
        kernel, bias, scale, shift = weights[4 * block : 4 * block + 4]
        x = F.batch_norm(F.conv2d(x, kernel, bias, padding=1), None, None, scale, shift, training=True)
        gamma, beta = (t.view(1, -1, 1, 1) for t in tau[2 * block : 2 * block + 2])
        x = F.relu(F.max_pool2d(x, 2) * (1 + gamma) + beta)
    return x.flatten(1) @ weights[-2].T + weights[-1]


def read(encoder, x, y):
    """The code of one set, pair by pair; ``encoder.body`` has no parameters here."""
    (w1, c1, w2, c2), (w3, c3) = encoder.pair.parameters(), encoder.code.parameters()
    total = 0.0
    for value, target in zip(x, y, strict=True):
        label = target if target.is_floating_point() else encoder.labels.weight[target]
        total = total + w2 @ F.relu(w1 @ torch.cat([value.flatten(), label]) + c1) + c2
    return w3 @ F.relu(total / len(x)) + c3


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def reference(forward, learner, episode, *, lr, steps, first_order=False):
    """Codes and weights of every task, and the mean query loss."""
    total, codes, adapted = 0.0, [], []
    sizes = list(learner.sizes.values())
    for b in range(len(episode.support.x)):
        code = read(learner.encoder, episode.support.x[b], episode.support.y[b])
        tau = (learner.generator.weight @ code + learner.generator.bias).split(sizes)
        weights = list(learner.net.parameters())
        for _ in range(steps):
            loss = task_loss(forward(weights, episode.support.x[b], tau), episode.support.y[b])
            grads = torch.autograd.grad(loss, weights, create_graph=not first_order, retain_graph=True)
            weights = [w - lr * g for w, g in zip(weights, grads, strict=True)]
        total = total + task_loss(forward(weights, episode.query.x[b], tau), episode.query.y[b])
        codes.append(code)
        adapted.append(weights)
    return torch.stack(codes), adapted, total / len(episode.support.x)


NETS = {  # name: network, the reference's, shape of an input
    "MLP": (lambda: MLP(2, 3, hidden=(5, 6)), mlp, (2,)),
    "Conv4": (lambda: Conv4(1, 3, width=3, size=8, blocks=2), conv4, (1, 8, 8)),
}


def build(name, likelihood, **options):
    """Away from scales of 1 and shifts of 0, and from a generator of zeros."""
    torch.manual_seed(0)
    make, _, shape = NETS[name]
    encoder = PairEncoder(Pixels(), torch.Size(shape).numel(), likelihood, hidden=6, code=C)
    learner = ModulatedMAML(add_film(make()), encoder, likelihood, code=C, inner_lr=0.05, **options).double()
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
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("steps", [1, 3])
def test_loss_state_and_gradient_are_those_of_the_slow_reference(name, kind, first_order, steps):
    _, forward, shape = NETS[name]
    learner, episode = build(name, kind(3), inner_steps=steps, first_order=first_order), draw(shape, kind)
    codes, adapted, loss = reference(forward, learner, episode, lr=0.05, steps=steps, first_order=first_order)
    state = learner.adapt(episode.support)
    close([state.code], [codes])
    for b in range(B):
        close([v[b] for v in state.weights.values()], adapted[b])
    theta = list(learner.parameters())
    close(value_and_gradient(learner.meta_loss(episode), theta), value_and_gradient(loss, theta))


class Loss(nn.Module):
    """The meta-loss as a forward pass, which functional_call can call at other parameters."""

    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


class Smooth(nn.Module):
    """An encoder without kinks."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 2)

    def forward(self, x, y):
        return torch.tanh(self.layer(torch.cat([x, y], -1)).mean(1))


def test_gradcheck_of_the_meta_loss():
    torch.manual_seed(0)
    net = add_film(MLP(2, 3, hidden=(4,), activation="tanh"))
    learner = ModulatedMAML(net, Smooth(), Regression(3), code=2, inner_lr=0.1, inner_steps=2).double()
    nn.init.normal_(learner.generator.weight)
    episode = draw((2,), Regression, tasks=2)
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The idea switched off.


def silent(learner):
    """The same learner with a generator that writes zeros."""
    with torch.no_grad():
        learner.generator.weight.zero_()
        learner.generator.bias.zero_()
    return learner


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", NETS)
def test_with_the_modulation_switched_off_it_is_maml(name, kind):
    learner, episode = silent(build(name, kind(3), inner_steps=3)), draw(NETS[name][2], kind)
    maml, theta = MAML(learner.net, kind(3), inner_lr=0.05, inner_steps=3), list(learner.net.parameters())
    close(value_and_gradient(learner.meta_loss(episode), theta), value_and_gradient(maml.meta_loss(episode), theta))
    close(learner.adapt(episode.support).weights.values(), maml.adapt(episode.support).values())


def test_before_training_it_is_maml():
    net, encoder = add_film(MLP(2, 3)).double(), PairEncoder(Pixels(), 2, Regression(3)).double()
    learner, episode = ModulatedMAML(net, encoder, Regression(3), code=32).double(), draw((2,), Regression)
    close([learner(episode).mean], [MAML(net, Regression(3))(episode).mean])


@pytest.mark.parametrize("name", NETS)
def test_without_inner_steps_the_code_alone_tells_the_task(name):
    """The weights are those of the start, and the network is modulated: a task enters by its code only."""
    _, forward, shape = NETS[name]
    learner, episode = build(name, Regression(3), inner_steps=0), draw(shape, Regression)
    state = learner.adapt(episode.support)
    theta = list(learner.net.parameters())
    for b in range(B):
        close([v[b] for v in state.weights.values()], theta, 0)
        tau = [v[b] for v in state.modulation.values()]
        close([learner(episode).mean[b]], [forward(theta, episode.query.x[b], tau)])
    off = silent(build(name, Regression(3), inner_steps=0))
    assert (off(episode).mean - learner(episode).mean).abs().max() > 1e-3


def test_the_steps_move_the_weights_and_leave_the_modulation():
    learner, episode = build("MLP", Regression(3), inner_steps=2), draw((2,), Regression)
    none = build("MLP", Regression(3), inner_steps=0)
    close(learner.adapt(episode.support).modulation.values(), none.adapt(episode.support).modulation.values(), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_lr": -1}, "inner_lr: -1 given; a finite number above 0"),
        ({"inner_steps": -1}, "inner_steps: -1 given; at least 0"),
        ({"code": 0}, "code: 0 given; at least 1"),
        ({"net": MLP(2, 3)}, "net: no metabook.nn.Film given; the modulation needs at least one"),
        ({"encoder": nn.BatchNorm1d(3)}, r"encoder: layer encoder \(BatchNorm1d\) keeps running statistics"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ModulatedMAML(
            **{"net": add_film(MLP(2, 3)), "encoder": Smooth(), "likelihood": Regression(3), "code": 2, **options}
        )
