"""CAVIA against numbers by hand, and against a slow reference that shares no code with the package."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.generative import CAVIA
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, AppendContext, Chain, ContextFilm, Conv4, Linear, insert_film
from metabook.optimization import MAML

B, C = 3, 4


# By hand: y = w x + v z, one support and one query example, squared error.


def by_hand(**options):
    """w = 1, v = 2, support (x, y) = (1, 5), query (1, 4)."""
    net = Chain(AppendContext(1), Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 2.0]]))
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 5.0, 1.0, 4.0)]
    learner = CAVIA(net, Regression(), inner_lr=0.05, **options)
    return learner, Episode(Examples(*point[:2]), Examples(*point[2:]))


@pytest.mark.parametrize(("first_order", "in_w", "in_v"), [(False, -1.68, -4.48), (True, -2.8, -2.24)])
def test_by_hand(first_order, in_w, in_v):
    """The error is w - 5 = -4, its gradient in z 2 (-4) v = -16, so z = 0 + 0.05 * 16 = 0.8.

    Query: w + v z = 2.6, error -1.4, L_Q = 1.96, and dL_Q is -2.8 times the change of the prediction.
    z = -0.1 v (w - 5): dz/dw = -0.2, dz/dv = 0.4. In w the prediction changes by 1 + v dz/dw = 0.6; in v by
    z + v dz/dv = 1.6. In first order dz/dw = dz/dv = 0, so by 1 and by 0.8.
    """
    learner, episode = by_hand(first_order=first_order)
    assert learner.adapt(episode.support).item() == pytest.approx(0.8, abs=1e-15)
    loss = learner.meta_loss(episode)
    assert loss.item() == pytest.approx(1.96, abs=1e-14)
    assert torch.autograd.grad(loss, learner.net[1].weight)[0][0].tolist() == pytest.approx([in_w, in_v], abs=1e-13)


def test_by_hand_two_steps():
    """A step multiplies the error by 1 - 0.1 v^2 = 0.6: -4, -2.4, -1.44, so v z = 5 - 1 - 1.44 and z = 1.28."""
    learner, episode = by_hand(inner_steps=2)
    assert learner.adapt(episode.support).item() == pytest.approx(1.28, abs=1e-14)


# The slow reference: a loop over tasks and one over steps, the context a plain vector.


def mlp(weights, x, z):
    x = torch.cat([x, z.expand(len(x), -1)], 1)
    for i in range(0, len(weights) - 2, 2):
        x = F.relu(x @ weights[i].T + weights[i + 1])
    return x @ weights[-2].T + weights[-1]


def conv4(weights, x, z):
    """Two blocks; scale and shift of the second are linear in z."""
    (k1, b1, s1, h1, k2, b2, s2, h2), film, head = weights[:8], weights[8:10], weights[10:]
    x = F.batch_norm(F.conv2d(x, k1, b1, padding=1), None, None, s1, h1, training=True)
    x = F.relu(F.max_pool2d(x, 2))
    x = F.batch_norm(F.conv2d(x, k2, b2, padding=1), None, None, s2, h2, training=True)
    gamma, beta = (film[0] @ z + film[1]).split(3)
    x = F.relu(F.max_pool2d(x, 2) * (1 + gamma).view(1, 3, 1, 1) + beta.view(1, 3, 1, 1))
    return x.flatten(1) @ head[0].T + head[1]


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def reference(forward, weights, episode, *, lr, steps, first_order=False):
    """The context of every task, and the mean query loss."""
    total, contexts = 0.0, []
    for b in range(len(episode.support.x)):
        z = torch.zeros(C, dtype=torch.float64, requires_grad=True)
        for _ in range(steps):
            loss = task_loss(forward(weights, episode.support.x[b], z), episode.support.y[b])
            z = z - lr * torch.autograd.grad(loss, z, create_graph=not first_order)[0]
        total = total + task_loss(forward(weights, episode.query.x[b], z), episode.query.y[b])
        contexts.append(z)
    return torch.stack(contexts), total / len(episode.support.x)


def smooth():
    return Chain(AppendContext(C), MLP(2 + C, 3, hidden=(5,), activation="tanh"))


NETS = {  # name: network, the reference's, shape of an input
    "MLP": (lambda: Chain(AppendContext(C), MLP(2 + C, 3, hidden=(5, 6))), mlp, (2,)),
    "Conv4": (lambda: insert_film(Conv4(1, 3, width=3, size=8, blocks=2), 1, ContextFilm(C, 3)), conv4, (1, 8, 8)),
}


def build(make, likelihood, **options):
    """Away from scales of 1 and shifts of 0; the order of the parameters is that of the layers."""
    torch.manual_seed(0)
    learner = CAVIA(make(), likelihood, **{"inner_lr": 0.3, **options}).double()
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
def test_loss_contexts_and_gradient_are_those_of_the_slow_reference(name, kind, first_order, steps):
    make, forward, shape = NETS[name]
    learner = build(make, kind(3), inner_steps=steps, first_order=first_order)
    episode, weights = draw(shape, kind), list(learner.parameters())
    contexts, loss = reference(forward, weights, episode, lr=0.3, steps=steps, first_order=first_order)
    close([learner.adapt(episode.support)], [contexts])
    close(value_and_gradient(learner.meta_loss(episode), weights), value_and_gradient(loss, weights))


class Loss(nn.Module):
    """The meta-loss as a forward pass, which functional_call can call at other parameters."""

    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


@pytest.mark.parametrize("kind", [Regression, Classification])
def test_gradcheck_of_the_meta_loss(kind):
    learner, episode = build(smooth, kind(3), inner_steps=2), draw((2,), kind, tasks=2)
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# What it is the same as, and the idea switched off.


def pair(u, *, inner_steps):
    """CAVIA whose first layer is W x + U z + b, and the network W x + b, ... without a context."""
    torch.manual_seed(0)
    hidden, size = u.shape
    plain = MLP(2, 3, hidden=(hidden, 6), activation="tanh").double()
    wide = MLP(2 + size, 3, hidden=(hidden, 6), activation="tanh").double()
    with torch.no_grad():
        for p, q in zip(wide.parameters(), plain.parameters(), strict=True):
            p.copy_(torch.cat([q, u], 1) if p.shape != q.shape else q)
    options = {"inner_lr": 0.2, "inner_steps": inner_steps}
    return CAVIA(Chain(AppendContext(size), wide).double(), Regression(3), **options), plain, options


@pytest.mark.parametrize("steps", [1, 4])
def test_a_context_that_is_added_to_the_first_layer_is_maml_on_its_bias(steps):
    """With h = W x + U z + b the gradients are grad_z L = U^T grad_b L, so b + U z moves by -alpha U U^T grad_b L.

    If U is orthogonal, U U^T = I, this is the step of MAML on b alone, step by step: the same predictions, loss and
    meta-gradient in b.
    """
    u = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    cavia, plain, options = pair(u, inner_steps=steps)
    bias = plain.layers[0].bias
    plain.requires_grad_(False)
    bias.requires_grad_(True)
    maml, episode = MAML(plain, Regression(3), **options), draw((2,), Regression)
    theirs = cavia.net[1].layers[0].bias
    close([cavia.adapt(episode.support) @ u.T], [maml.adapt(episode.support)["layers.0.bias"] - bias])
    close([cavia(episode).mean], [maml(episode).mean])
    ours = value_and_gradient(cavia.meta_loss(episode), [theirs])
    close(ours, value_and_gradient(maml.meta_loss(episode), [bias]))


def test_any_context_at_the_input_is_a_preconditioned_step_of_that_bias():
    """With a tall U, 5 units and 2 numbers, the bias moves by -alpha U U^T grad: in the plane of U's columns only."""
    u = torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cavia, plain, _ = pair(u, inner_steps=3)
    episode = draw((2,), Regression)
    z = cavia.adapt(episode.support)
    first, bias = plain.layers[0], plain.layers[0].bias.detach().clone()
    for b in range(B):
        moved = bias.clone()
        for _ in range(3):
            moved.requires_grad_()
            h = torch.tanh(episode.support.x[b] @ first.weight.T + moved)
            h = torch.tanh(h @ plain.layers[1].weight.T + plain.layers[1].bias)
            loss = task_loss(h @ plain.layers[2].weight.T + plain.layers[2].bias, episode.support.y[b])
            moved = moved.detach() - 0.2 * u @ u.T @ torch.autograd.grad(loss, moved)[0]
        close([z[b] @ u.T], [moved - bias])


@pytest.mark.parametrize("name", NETS)
def test_without_inner_steps_it_is_the_network_with_a_context_of_zero(name):
    make, forward, shape = NETS[name]
    learner, episode = build(make, Regression(3), inner_steps=0), draw(shape, Regression)
    zero = torch.zeros(C, dtype=torch.float64)
    assert torch.equal(learner.adapt(episode.support), zero.expand(B, -1))
    close(
        [learner(episode).mean], [torch.stack([forward(list(learner.parameters()), x, zero) for x in episode.query.x])]
    )


def test_every_task_has_the_same_weights_and_only_the_context_is_its_own():
    learner, episode = build(NETS["MLP"][0], Regression(3)), draw((2,), Regression)
    state = learner.adapt(episode.support)
    assert state.shape == (B, C)
    swapped = learner.predict(state.flip(0), episode.query.x.flip(0)).mean.flip(0)
    close([swapped], [learner(episode).mean])


def test_the_buffer_stays_zero_and_is_no_meta_parameter():
    learner, episode = build(NETS["MLP"][0], Regression(3)), draw((2,), Regression)
    learner.meta_loss(episode).backward()
    context = learner.net.get_buffer(learner.name)
    assert not context.any() and learner.name not in dict(learner.named_parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_lr": -1}, "inner_lr: -1 given; a finite number above 0"),
        ({"inner_steps": -1}, "inner_steps: -1 given; at least 0"),
        ({"net": MLP(2, 3)}, "net: 0 buffers called context given; exactly one"),
        ({"net": Chain(AppendContext(2), AppendContext(2), MLP(6, 3))}, "net: 2 buffers called context given"),
        ({"net": Chain(AppendContext(2), nn.BatchNorm1d(3))}, r"net: layer 1 \(BatchNorm1d\) keeps running statistics"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CAVIA(**{"net": smooth(), "likelihood": Regression(3), **options})
