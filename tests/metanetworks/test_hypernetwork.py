"""Hypernetworks against numbers by hand, and against a slow reference that shares no code with the package."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import metabook
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.metanetworks import Hypernetwork
from metabook.metric import ProtoNet
from metabook.nn import MLP, ClassEncoder, Linear, PairEncoder, Pixels, WeightGenerator
from metabook.optimization import MAML

B, C = 3, 4


class MeanTarget(nn.Module):
    """The code by hand: the mean of the targets."""

    def forward(self, x, y):
        return y.mean(1)


class Tenth(nn.Module):
    """The generator by hand: the one weight is a learned number times the code."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.25))

    def forward(self, code):
        return {"weight": self.a * code.unsqueeze(-1)}


def by_hand(**options):
    """y = w x, w = theta + a c with theta = 1 and a = 1/4. Support (1, 2), so c = 2; query (2, 1)."""
    net = Linear(1, 1, bias=False)
    learner = Hypernetwork(net, MeanTarget(), Tenth(), Regression(), inner_lr=0.1, **options).double()
    with torch.no_grad():
        net.weight.fill_(1.0)
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 2.0, 2.0, 1.0)]
    return learner, Episode(Examples(*point[:2]), Examples(*point[2:]))


def test_by_hand_without_steps():
    """w = 1 + 2/4 = 1.5; the query's prediction is 3, its loss 2^2 = 4, dL/dw = 2 * 2 * 2 = 8, dL/da = 8 * 2 = 16."""
    learner, episode = by_hand()
    state = learner.adapt(episode.support)
    assert state.code.item() == 2 and state.weights["weight"].item() == 1.5
    loss = learner.meta_loss(episode)
    grads = torch.autograd.grad(loss, [learner.net.weight, learner.generator.a])
    assert loss.item() == 4 and [g.item() for g in grads] == [8, 16]


@pytest.mark.parametrize("first_order", [False, True])
def test_by_hand_with_one_step(first_order):
    """The support's error at w = 1.5 is -0.5, so w' = 1.5 + 0.1 * 2 * 0.5 = 1.6.

    Query: 3.2, loss 2.2^2 = 4.84, dL/dw' = 2 * 2.2 * 2 = 8.8. dw'/dw = 1 - 0.1 * 2 = 0.8, in first order 1; times 2
    for a.
    """
    learner, episode = by_hand(inner_steps=1, first_order=first_order)
    assert learner.adapt(episode.support).weights["weight"].item() == pytest.approx(1.6, abs=1e-14)
    loss = learner.meta_loss(episode)
    slope = 8.8 * (1 if first_order else 0.8)
    grads = torch.autograd.grad(loss, [learner.net.weight, learner.generator.a])
    assert loss.item() == pytest.approx(4.84, abs=1e-13)
    assert [g.item() for g in grads] == pytest.approx([slope, 2 * slope], abs=1e-12)


# The slow reference: a loop over tasks, steps, chunks and pairs.


def encode(encoder, x, y):
    """Of classes the codes [N, C], of real targets the code [C]; the bodies have no parameters here."""
    if isinstance(encoder, ClassEncoder):
        h = [F.relu(encoder.each[0](v.flatten())) for v in x]
        means = [sum(v for v, c in zip(h, y, strict=True) if c == n) / int((y == n).sum()) for n in range(3)]
        middle = encoder.all(sum(means) / 3)
        return torch.stack([encoder.code(F.relu(encoder.own(m) + middle)) for m in means])
    (w1, c1, w2, c2), (w3, c3) = encoder.pair.parameters(), encoder.code.parameters()
    pairs = [w2 @ F.relu(w1 @ torch.cat([v.flatten(), t]) + c1) + c2 for v, t in zip(x, y, strict=True)]
    return w3 @ F.relu(sum(pairs) / len(pairs)) + c3


def normed(norm, v):
    return norm.weight * v / (v.square().mean() + 1e-6).sqrt()


def write(g, chunks, code):
    """One part of the code: softmax over one is 1, and a chunk reads the value alone."""
    memory = normed(g.block.before, g.piece(code) + g.places[0])
    read = g.block.attention.out.weight @ (g.block.attention.value.weight @ memory)
    found, k = {}, 0
    for (name, shape), size in zip(chunks.shapes.items(), chunks.sizes, strict=True):
        numbers = []
        for _ in range(size):
            x = chunks.embedding[k] + read
            x = x + g.block.down(F.relu(g.block.up(normed(g.block.between, x))))
            numbers.append(g.share**0.5 * chunks.scale[k] * (normed(g.norm, x) @ g.last[0] + g.bias[0]))
            k += 1
        found[name] = torch.cat(numbers)[: shape.numel()].view(shape)
    return found


def task_loss(weights, x, y):
    w1, b1, w2, b2 = weights
    out = torch.tanh(x @ w1.T + b1) @ w2.T + b2
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def reference(learner, episode, *, lr, steps, first_order):
    total, adapted, g = 0.0, [], learner.generator
    for b in range(len(episode.support.x)):
        x, y = episode.support.x[b], episode.support.y[b]
        code = encode(learner.encoder, x, y)
        if code.dim() == 2:
            written = write(g, g.rest, code.mean(0))
            rows = [write(g, g.rows, c) for c in code]
            written |= {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        else:
            written = write(g, g.rest, code)
        weights = [p + written[name] for name, p in learner.net.named_parameters()]
        for _ in range(steps):
            grads = torch.autograd.grad(
                task_loss(weights, x, y), weights, create_graph=not first_order, retain_graph=True
            )
            weights = [w - lr * d for w, d in zip(weights, grads, strict=True)]
        total = total + task_loss(weights, episode.query.x[b], episode.query.y[b])
        adapted.append(weights)
    return adapted, total / len(episode.support.x)


def build(kind, **options):
    torch.manual_seed(0)
    net, likelihood = MLP(2, 3, hidden=(5,), activation="tanh"), kind(3)
    if kind is Classification:
        encoder = ClassEncoder(Pixels(), 2, likelihood, hidden=6, code=C)
    else:
        encoder = PairEncoder(Pixels(), 2, likelihood, hidden=6, code=C)
    head = "layers.1" if kind is Classification else None
    generator = WeightGenerator(net, C, head=head, hidden=6, heads=2, chunk=4)
    return Hypernetwork(net, encoder, generator, likelihood, inner_lr=0.05, **options).double()


def draw(kind, *, tasks=B, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(tasks, n, 2, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(tasks, -1) % 3)
        return Examples(x, torch.randn(tasks, n, 3, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def value_and_gradient(loss, parameters):
    return [loss.detach(), *torch.autograd.grad(loss, parameters, materialize_grads=True)]


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_loss_state_and_gradient_are_those_of_the_slow_reference(kind, first_order, steps):
    learner, episode = build(kind, inner_steps=steps, first_order=first_order), draw(kind)
    adapted, loss = reference(learner, episode, lr=0.05, steps=steps, first_order=first_order)
    state = learner.adapt(episode.support)
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


@pytest.mark.parametrize("kind", [Regression, Classification])
def test_gradcheck_of_the_meta_loss(kind):
    """In a smaller generator; at random data no ReLU of the encoder or the trunk is near its kink."""
    torch.manual_seed(0)
    learner = build(kind, inner_steps=2)
    loss = Loss(learner, draw(kind, tasks=2))
    names, parameters = zip(*loss.named_parameters(), strict=True)

    def at(*values):
        return torch.func.functional_call(loss, dict(zip(names, values, strict=True)), ())

    assert torch.autograd.gradcheck(at, parameters, fast_mode=True)


@pytest.mark.parametrize("clip", [None, 0.2], ids=["any-gradient", "clipped"])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("kind", [Regression, Classification])
def test_with_a_generator_that_writes_zeros_it_is_maml(kind, first_order, clip):
    options = {"inner_steps": 3, "first_order": first_order, "clip": clip}
    learner, episode = build(kind, **options), draw(kind)
    nn.init.normal_(learner.generator.bias)  # as after training; it is 0 at first
    learner.generator.silence()
    maml = MAML(learner.net, kind(3), inner_lr=0.05, **options)
    theta = list(learner.net.parameters())
    ours, theirs = (value_and_gradient(m.meta_loss(episode), theta) for m in (learner, maml))
    close(ours, theirs, 0)
    close(learner.adapt(episode.support).weights.values(), maml.adapt(episode.support).values(), 0)


class ClassMeans(nn.Module):
    """The mean of each class, then its square or, for comparison, the mean of the squares."""

    def __init__(self, square_first):
        super().__init__()
        self.square_first = square_first

    def forward(self, x, y):
        member = F.one_hot(y, 3).to(x.dtype).mT
        means, squares = (member @ v / member.sum(2, keepdim=True) for v in (x, (x**2).sum(2, keepdim=True)))
        return torch.cat([means, squares if self.square_first else (means**2).sum(2, keepdim=True)], 2)


class Rows(nn.Module):
    """Every row of a linear head from the code of its class, by one matrix: w = 2 c, b = -|c|^2."""

    def forward(self, code):
        rows = code @ torch.diag(torch.tensor([2.0, 2.0, -1.0]).to(code))
        return {"weight": rows[..., :2], "bias": rows[..., 2]}


def test_a_head_written_row_by_row_can_be_prototypical():
    """-|x - c|^2 = 2 c.x - |c|^2 - |x|^2; the last term is the same for all classes.

    One class has two examples, so the mean of the squares is not the square of the mean.
    """
    episode, likelihood = draw(Classification), Classification(3)
    prototypes = ProtoNet(Pixels(), likelihood)
    for square_first in (False, True):
        head = Linear(2, 3).double()
        for p in head.parameters():
            nn.init.zeros_(p)
        written = Hypernetwork(head, ClassMeans(square_first), Rows(), likelihood)
        gap = (written(episode).probs - prototypes(episode).probs).abs().max()
        assert gap > 1e-2 if square_first else gap < 1e-12


def test_without_steps_the_weights_are_theta_and_what_is_written():
    learner, episode = build(Regression), draw(Regression)
    state = learner.adapt(episode.support)
    written = learner.generator(learner.encoder(*episode.support))
    for name, p in learner.net.named_parameters():
        assert torch.equal(state.weights[name], p + written[name])
        assert written[name].abs().max() > 1e-2
    assert (state.weights["layers.0.weight"][0] - state.weights["layers.0.weight"][1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_lr": 0}, "inner_lr: 0 given; a finite number above 0"),
        ({"inner_steps": -1}, "inner_steps: -1 given; at least 0"),
        ({"generator": nn.BatchNorm1d(3)}, r"generator: layer generator \(BatchNorm1d\) keeps running statistics"),
        ({"encoder": nn.BatchNorm1d(3)}, r"encoder: layer encoder \(BatchNorm1d\) keeps running statistics"),
    ],
)
def test_bad_arguments_are_named(options, message):
    given = {"net": MLP(2, 3), "encoder": MeanTarget(), "generator": Tenth(), "likelihood": Regression(3), **options}
    with pytest.raises(ValueError, match=message):
        Hypernetwork(**given)


def test_eyes_of_the_encoder():
    tasks = metabook.make_tasks("permuted-glyphs", queries=1)
    sizes = {
        eyes: metabook.build("hypernetwork", tasks, eyes=eyes, body_width=8).encoder.each[0].in_features
        for eyes in ("conv", "dense", "conv,dense")
    }
    assert sizes == {"conv": 8, "dense": 256, "conv,dense": 264}
    with pytest.raises(ValueError, match="eyes: 'nose' given; allowed are conv, dense, own"):
        metabook.build("hypernetwork", tasks, eyes="conv,nose")


def test_eyes_of_its_own_are_the_operations_of_the_network():
    tasks = metabook.make_tasks("permuted-glyphs", queries=1)
    learner = metabook.build("hypernetwork", tasks, units="conv3,dense", eyes="own")
    assert learner.encoder.each[0].in_features == 2 * 8 * 7 * 7
    assert {id(p) for p in learner.encoder.body.parameters()} == {id(p) for p in learner.net.edges.parameters()}
    copied = copy.deepcopy(learner)
    assert copied.encoder.body.edge is copied.net.edges["01"]
    with pytest.raises(ValueError, match="eyes: 'own' given; allowed with units"):
        metabook.build("hypernetwork", tasks, eyes="own")


@pytest.mark.parametrize("system", ["hypernetwork", "metanetworks"])
def test_without_steps_only_what_is_written_is_a_tasks_own(system):
    """The head; the body is shared, not copied for each task. Copies give the same losses and the same gradients."""
    tasks = metabook.make_tasks("permuted-glyphs", queries=2)
    cell = {"units": "conv3"} if system == "hypernetwork" else {"operations": "conv3", "kl_weight": 0.0}
    learner = metabook.build(system, tasks, eyes="own", width=2, **cell).double()
    batch = tasks.sample(2, torch.Generator().manual_seed(0))
    batch = Episode(*(Examples(part.x.double(), part.y) for part in batch))
    state = learner.adapt(batch.support)
    assert set(state.weights) == {"head.weight", "head.bias"}
    copies = {name: p.expand(2, *p.shape) for name, p in learner.net.named_parameters()}
    copied = state._replace(weights={**copies, **state.weights})
    shared, apart = (-learner.predict(s, batch.query.x).log_prob(batch.query.y).sum() for s in (state, copied))
    assert shared.item() == pytest.approx(apart.item(), abs=1e-12)
    p = list(learner.net.edges.parameters())
    for g, h in zip(torch.autograd.grad(shared, p, retain_graph=True), torch.autograd.grad(apart, p), strict=True):
        torch.testing.assert_close(g, h, rtol=0, atol=1e-12)
    learner.inner_steps = 1
    assert set(learner.adapt(batch.support).weights) == set(copies)
