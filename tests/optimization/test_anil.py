"""ANIL against numbers by hand, and against a slow reference that shares no code with the package."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import metabook
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear, Pixels
from metabook.optimization import ANIL, MAML

B = 3


# By hand: y = w u x, the body u and the head w, one support and one query example, squared error.


def by_hand(**options):
    """u = 2, w = 1, support (x, y) = (1, 5), query (1, 4)."""
    body, head = (nn.Linear(1, 1, bias=False).double() for _ in range(2))
    nn.init.constant_(body.weight, 2.0)
    nn.init.constant_(head.weight, 1.0)
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 5.0, 1.0, 4.0)]
    return ANIL(body, head, Regression(), inner_lr=0.1, **options), Episode(Examples(*point[:2]), Examples(*point[2:]))


def gradients(learner, episode):
    weights = [learner.body.weight, learner.head.weight]
    return [g.item() for g in torch.autograd.grad(learner.meta_loss(episode), weights)]


@pytest.mark.parametrize(("first_order", "in_body", "in_head"), [(False, 2.08, 0.32), (True, 1.76, 1.6)])
def test_by_hand(first_order, in_body, in_head):
    """The feature is u = 2, the error w u - 5 = -3, its gradient in w alone 2 (-3) u = -12, so w' = 1 + 1.2 = 2.2.

    Query: w' u = 4.4, error 0.4, L_Q = 0.16, dL_Q/dw' = 2 * 0.4 * u = 1.6.
    dw'/dw = 1 - 0.2 u^2 = 0.2, so the gradient in w is 0.32.
    w' = w - 0.2 (w u^2 - 5 u), dw'/du = -0.2 (2 w u - 5) = 0.2. The gradient in u is 2 * 0.4 * w' + 1.6 * 0.2 = 2.08:
    the first term by the query's feature, the second by the support's. In first order dw'/dw = 1 and dw'/du = 0.
    """
    learner, episode = by_hand(first_order=first_order)
    assert learner.adapt(episode.support)["weight"].item() == pytest.approx(2.2, abs=1e-15)
    assert learner.meta_loss(episode).item() == pytest.approx(0.16, abs=1e-14)
    assert gradients(learner, episode) == pytest.approx([in_body, in_head], abs=1e-14)


def test_by_hand_two_steps():
    """A step multiplies w u - 5 by 1 - 0.2 u^2 = 0.2: w'' u = 5 - 3 * 0.04 = 4.88, w'' = 2.44, L_Q = 0.88^2.

    dL_Q/dw'' = 2 * 0.88 * 2 = 3.52, times 0.2^2 is 0.1408.
    """
    learner, episode = by_hand(inner_steps=2)
    assert learner.adapt(episode.support)["weight"].item() == pytest.approx(2.44, abs=1e-14)
    assert gradients(learner, episode)[1] == pytest.approx(0.1408, abs=1e-13)


# The slow reference: a loop over tasks and one over steps; every step runs the whole network.


def mlp(weights, x, activation=F.relu):
    """All layers but the last of an MLP, the last of them without activation."""
    for i in range(0, len(weights) - 2, 2):
        x = activation(x @ weights[i].T + weights[i + 1])
    return x @ weights[-2].T + weights[-1]


def smooth(weights, x):
    return torch.tanh(mlp(weights, x, torch.tanh))


def conv4(weights, x):
    for i in range(0, len(weights), 4):
        kernel, bias, scale, shift = weights[i : i + 4]
        x = F.batch_norm(F.conv2d(x, kernel, bias, padding=1), None, None, scale, shift, training=True)
        x = F.max_pool2d(F.relu(x), 2)
    return x.flatten(1)


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def reference(features, body, head, episode, *, lr, steps, first_order=False):
    """Adapted heads of every task, and the mean query loss."""
    total, adapted = 0.0, []
    for b in range(len(episode.support.x)):
        w, c = head
        for _ in range(steps):
            loss = task_loss(features(body, episode.support.x[b]) @ w.T + c, episode.support.y[b])
            gw, gc = torch.autograd.grad(loss, [w, c], create_graph=not first_order)
            w, c = w - lr * gw, c - lr * gc
        total = total + task_loss(features(body, episode.query.x[b]) @ w.T + c, episode.query.y[b])
        adapted.append([w, c])
    return adapted, total / len(episode.support.x)


# name: (body, head, the reference's body, shape of an input)
NETS = {
    "MLP": (lambda: MLP(2, 4, hidden=(5,)), lambda: MLP(4, 3, hidden=()), mlp, (2,)),
    "Conv4": (lambda: Conv4(1, width=3, size=16), lambda: Linear(3, 3), conv4, (1, 16, 16)),
    "own": (lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh()), lambda: nn.Linear(4, 3), smooth, (2,)),
}


def build(name, likelihood, **options):
    """Away from scales of 1 and shifts of 0."""
    torch.manual_seed(0)
    learner = ANIL(NETS[name][0](), NETS[name][1](), likelihood, inner_lr=0.2, **options).double()
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
def test_loss_and_gradients_of_body_and_head_are_those_of_the_slow_reference(name, kind, first_order, steps, device):
    learner = build(name, kind(3), inner_steps=steps, first_order=first_order).to(device)
    episode = draw(NETS[name][3], kind).to(device)
    body, head = list(learner.body.parameters()), list(learner.head.parameters())
    adapted, loss = reference(NETS[name][2], body, head, episode, lr=0.2, steps=steps, first_order=first_order)
    close(value_and_gradient(learner.meta_loss(episode), [*body, *head]), value_and_gradient(loss, [*body, *head]))
    phi = learner.adapt(episode.support)
    for b in range(B):
        close([v[b] for v in phi.values()], adapted[b])


# The gradient by central differences.


class Loss(nn.Module):
    """The meta-loss as a forward pass, which functional_call can call at other parameters."""

    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


@pytest.mark.parametrize("kind", [Regression, Classification])
def test_gradcheck_of_the_meta_loss(kind):
    learner, episode = build("own", kind(3), inner_steps=2), draw((2,), kind, tasks=2)
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The idea switched off.


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
def test_with_a_body_without_parameters_it_is_maml_on_the_head(kind, first_order):
    torch.manual_seed(0)
    head, options = MLP(16, 3, hidden=(5,)).double(), {"inner_steps": 3, "first_order": first_order}
    anil, maml = ANIL(Pixels(), head, kind(3), inner_lr=0.1, **options), MAML(head, kind(3), inner_lr=0.1, **options)
    episode, theta = draw((1, 4, 4), kind), list(head.parameters())
    close(value_and_gradient(anil.meta_loss(episode), theta), value_and_gradient(maml.meta_loss(episode), theta), 0)
    close(anil.adapt(episode.support).values(), maml.adapt(episode.support).values(), 0)


class Whole(nn.Module):
    """Body and head as the one network that MAML takes."""

    takes_tasks = True

    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x):
        return self.head(self.body(x))


@pytest.mark.parametrize("name", ["MLP", "Conv4"])
def test_it_is_maml_with_the_body_frozen_in_the_inner_loop(name):
    """The same heads, loss and gradient in the head. MAML shares frozen weights and cannot train them; ANIL trains
    them, by the gradient of the slow reference."""
    anil, episode = build(name, Classification(3), inner_steps=2), draw(NETS[name][3], Classification)
    body, head = list(anil.body.parameters()), list(anil.head.parameters())
    expected = reference(NETS[name][2], body, head, episode, lr=0.2, steps=2)[1]
    close(torch.autograd.grad(anil.meta_loss(episode), body), torch.autograd.grad(expected, body))
    maml = MAML(Whole(anil.body, anil.head), Classification(3), inner_lr=0.2, inner_steps=2)
    anil.body.requires_grad_(False)
    close(maml.adapt(episode.support).values(), anil.adapt(episode.support).values(), 1e-12)
    close(value_and_gradient(maml.meta_loss(episode), head), value_and_gradient(anil.meta_loss(episode), head), 1e-12)


@pytest.mark.parametrize("name", NETS)
def test_without_inner_steps_it_is_the_plain_network(name):
    learner, episode = build(name, Regression(3), inner_steps=0), draw(NETS[name][3], Regression)
    body, (w, c) = list(learner.body.parameters()), learner.head.parameters()
    expected = torch.stack([NETS[name][2](body, x) @ w.T + c for x in episode.query.x])
    close([learner(episode).mean], [expected])


# What moves, and what is refused.


@pytest.mark.parametrize("name", NETS)
def test_the_body_runs_once_a_set_and_all_tasks_share_its_features(name):
    learner, episode = build(name, Regression(3), inner_steps=5), draw(NETS[name][3], Regression)
    examples = []
    learner.body.register_forward_hook(lambda module, inputs, output: examples.append(output.shape[:-1].numel()))
    state = learner.adapt(episode.support)
    assert sum(examples) == B * 4  # each support example once, whatever the number of steps
    assert list(state) == [n for n, _ in learner.head.named_parameters()]


@pytest.mark.parametrize("first_order", [False, True])
def test_first_order_trains_the_body_by_the_query_features_alone(first_order):
    """The gradient in the body is that of the query loss at adapted heads held fixed, and only then."""
    learner, episode = build("own", Regression(3), inner_steps=2, first_order=first_order), draw((2,), Regression)
    body = list(learner.body.parameters())
    with torch.no_grad():
        state = learner.adapt(episode.support)
    loss = learner.likelihood.loss(learner.predict(state, episode.query.x).mean, episode.query.y).mean()
    a, b = (torch.cat([g.flatten() for g in torch.autograd.grad(v, body)]) for v in (learner.meta_loss(episode), loss))
    assert ((a - b).norm() < 1e-12 * b.norm()) == first_order


def test_a_head_that_is_frozen_later_is_refused_and_does_not_pass_for_adapted():
    learner, episode = build("own", Regression(3)), draw((2,), Regression)
    learner.head.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter requires a gradient; gradient steps need at least one"):
        learner(episode)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_lr": -1}, ValueError, "inner_lr: -1 given; a finite number above 0"),
        ({"inner_steps": 1.5}, TypeError, "inner_steps: 1.5 given"),
        ({"body": nn.BatchNorm1d(3)}, ValueError, r"body: layer body \(BatchNorm1d\) keeps running statistics, "),
        ({"head": nn.Sequential(nn.BatchNorm1d(3))}, ValueError, r"head: layer 0 \(BatchNorm1d\) keeps running"),
        ({"head": Pixels()}, ValueError, "head: no parameter requires a gradient; the inner loop needs at least one"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        ANIL(**{"body": MLP(2, 3), "head": Linear(3, 1), "likelihood": Regression(), **options})


def test_a_cell_with_its_head_apart():
    """The body of ``units`` is a cell without its head, and only the head of 20 weights and a bias is a task's own."""
    tasks = metabook.make_tasks("sinusoids")
    learner = metabook.build("anil", tasks, units="sine", inner_steps=2)
    maml = metabook.build("maml", tasks, units="sine", inner_steps=0)
    batch = tasks.sample(2, torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in learner.parameters()) == sum(p.numel() for p in maml.parameters()) == 61
    assert {n: tuple(p.shape) for n, p in learner.adapt(batch.support).items()} == {
        "weight": (2, 1, 20),
        "bias": (2, 1),
    }
    with torch.no_grad():
        learner.inner_steps = 0
        torch.testing.assert_close(learner(batch).mean, maml(batch).mean, rtol=0, atol=1e-6)
