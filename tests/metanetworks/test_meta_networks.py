"""Meta Networks by hand, against a slow reference that shares no code with the package, and its limits."""

import math

import pytest
import torch
import torch.nn.functional as F

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.metanetworks import MetaNet
from metabook.nn import MLP, AugmentedNet, Pixels

B, WAY, DIM, F_U, F_B, D, H = 2, 3, 2, 4, 3, 3, 5
DOUBLE = torch.float64


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


# By hand.


def test_by_hand_fast_weights_from_signs_of_gradients():
    """M writes -2 sgn(g), Q = 1, Q* = 0 and W = 0. Support: (1, 0) of class 0 and (0, 1) of class 1.

    W = 0 gives p = 1/2 each. The gradient (p_c - y_c) x is [[-1/2, 0], [1/2, 0]] for the first example and
    [[0, 1/2], [0, -1/2]] for the second, so W*_1 = [[2, 0], [-2, 0]] and W*_2 = [[0, -2], [0, 2]].
    The query (1, 0) has cosines 1 and 0 with the keys: it reads a = e / (1 + e) of W*_1 and 1 - a of W*_2.
    Its logits are the first column of that, (2 a, -2 a): p_0 = 1 / (1 + exp(-4 a)).
    """
    learner = MetaNet(AugmentedNet(Pixels(), (2, 2)), AugmentedNet(Pixels(), (2, 2)), Classification(2), summary="none")
    learner = learner.double()
    m = learner.to_fast_weights
    with torch.no_grad():
        for p in (*m.parameters(), learner.base.layers[0].weight):
            p.zero_()
        learner.representation.layers[0].weight.copy_(torch.eye(2))
        m.first.weight[0, 1], m.first.weight[1, 1] = 1, -1  # relu(sgn g) and relu(-sgn g)
        m.second.weight[:2, :2] = torch.eye(2)
        m.output.weight[0, :2] = torch.tensor([-2.0, 2.0])
    x = torch.eye(2, dtype=DOUBLE).unsqueeze(0)
    state = learner.adapt(Examples(x, torch.tensor([[0, 1]])))
    close(state.memory, torch.tensor([[[2, 0, -2, 0], [0, -2, 0, 2]]], dtype=DOUBLE), 1e-14)
    a = math.e / (1 + math.e)
    close(learner.predict(state, x[:, :1]).probs[0, 0, 0].item(), 1 / (1 + math.exp(-4 * a)), 1e-14)


# The slow reference: one task, one example, one layer after the other.


def build(seed=0, rows=WAY, **options):
    torch.manual_seed(seed)
    u = AugmentedNet(MLP(DIM, F_U, hidden=()), (F_U, 6, D))
    b = AugmentedNet(MLP(DIM, F_B, hidden=()), (F_B, 4, rows))
    learner = MetaNet(u, b, Classification(WAY), hidden=H, **options).double()
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return learner


def draw(shots=1, seed=0, queries=4):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(WAY).repeat_interleave(shots).expand(B, -1)
    support = Examples(torch.randn(B, WAY * shots, DIM, generator=generator, dtype=DOUBLE), y)
    query_y = torch.randint(WAY, (B, queries), generator=generator)
    return Episode(support, Examples(torch.randn(B, queries, DIM, generator=generator, dtype=DOUBLE), query_y))


def seen(g):
    small = g.abs() < math.exp(-7)
    size = torch.where(small, -torch.ones_like(g), torch.where(small, torch.ones_like(g), g.abs()).log() / 7)
    return torch.stack([size, torch.where(small, math.exp(7) * g, torch.sign(g))], -1)


def written(m, g):
    h = F.relu(seen(g) @ m.first.weight.T + m.first.bias)
    return (F.relu(h @ m.second.weight.T + m.second.bias) @ m.output.weight.T + m.output.bias)[..., 0]


def summed_up(d, gradients):
    if d.kind == "none":
        return torch.zeros_like(gradients[0])
    if d.kind == "mean":
        return written(d.mlp, sum(gradients) / len(gradients))
    count = min(d.reads, len(gradients))
    h = c = torch.zeros(len(gradients[0]), H, dtype=DOUBLE)
    for t in range(count):
        group = gradients[t::count]
        a = (
            seen(sum(group) / len(group)) @ d.cell.weight_ih.T
            + h @ d.cell.weight_hh.T
            + d.cell.bias_ih
            + d.cell.bias_hh
        )
        i, f, g, o = a.split(H, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return (h @ d.output.weight.T + d.output.bias)[:, 0]


def body(net, x):
    layer = net.body.layers[0]
    return layer.weight @ x + layer.bias


def top(weights, h):
    """weights: one list of the two layers' matrices for each of slow, fast, ..."""
    h = sum(F.relu(w[0] @ h) for w in weights)
    return sum(w[1] @ h for w in weights)


def own(net):
    return [layer.weight for layer in net.layers]


def cut(net, vector):
    sizes = [layer.weight.numel() for layer in net.layers]
    return [v.view(layer.weight.shape) for v, layer in zip(vector.split(sizes), net.layers, strict=True)]


def gradient(loss, weights, graph):
    grads = torch.autograd.grad(loss, weights, create_graph=graph, retain_graph=True)
    return torch.cat([g.flatten() for g in grads])


def nll(logits, y):
    return -torch.log_softmax(logits[:WAY], 0)[y]


def unit(v):
    return v / v.norm().clamp(min=1e-12)  # of a zero vector zero


def embedding_gradients(m, x, y, graph):
    u, weights = m.representation, own(m.representation)
    if m.loss == "cross-entropy":
        return [
            gradient(nll(m.codes @ F.relu(top([weights], body(u, e))), c), weights, graph)
            for e, c in zip(x, y, strict=True)
        ]
    s, found = len(y), []
    for i, j in [(i, (i + 1) % s) for i in range(s)] + [(i, (i + s // 2) % s) for i in range(s)]:
        a, b = (top([weights], body(u, x[k])) for k in (i, j))
        d2 = ((unit(a) - unit(b)) ** 2).sum()
        found.append(gradient(d2 if y[i] == y[j] else F.relu(1 - d2), weights, graph))
    return found


def reference_task(m, x, y):
    graph = not m.first_order
    q = summed_up(m.to_task_weights, embedding_gradients(m, x, y, graph))
    represent = lambda e: top([own(m.representation), cut(m.representation, q)], body(m.representation, e))  # noqa: E731
    w = own(m.base)
    gradients = [gradient(nll(top([w], body(m.base, e)), c), w, graph) for e, c in zip(x, y, strict=True)]
    memory = [written(m.to_fast_weights, g) for g in gradients]
    return represent, [represent(e) for e in x], memory, q, summed_up(m.to_base_weights, gradients)


def reference(m, episode):
    total, count = 0, 0
    for x, y, query_x, query_y in zip(*episode.support, *episode.query, strict=True):
        represent, keys, memory, _, task = reference_task(m, x, y)
        for e, c in zip(query_x, query_y, strict=True):
            r = represent(e)
            cosines = torch.stack([unit(k) @ unit(r) for k in keys])
            a = torch.softmax(m.read.scale * cosines, 0)
            weights = [own(m.base)] if m.slow else []
            if m.fast:
                weights.append(cut(m.base, sum(ai * w for ai, w in zip(a, memory, strict=True))))
            if m.task_weights:
                weights.append(cut(m.base, task))
            total, count = total + nll(top(weights, body(m.base, e)), c), count + 1
    return total / count


VARIANTS = [
    {},
    {"summary": "none"},
    {"summary": "mean"},
    {"reads": 2},
    {"loss": "contrastive"},
    {"fast": False},
    {"slow": False},
    {"task_weights": True},
    {"scale": 3.0},
    {"rows": 5},
    {"first_order": False},
    {"first_order": False, "loss": "contrastive", "task_weights": True},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_loss_and_gradients_are_those_of_the_slow_reference(options):
    learner, episode = build(**options), draw(shots=2)
    parameters = list(learner.parameters())
    ours, theirs = learner.meta_loss(episode), reference(learner, episode)
    close(ours, theirs)
    grads = [torch.autograd.grad(v, parameters, materialize_grads=True, allow_unused=True) for v in (ours, theirs)]
    for a, b in zip(*grads, strict=True):
        close(a, b)
    assert sum(g.abs().max() > 1e-6 for g in grads[0]) > 3


def test_the_state_is_that_of_the_slow_reference():
    learner, episode = build(task_weights=True), draw(shots=2)
    state = learner.adapt(episode.support)
    for b in range(B):
        _, keys, memory, q, task = reference_task(learner, episode.support.x[b], episode.support.y[b])
        for ours, theirs in zip(state, (torch.stack(keys), torch.stack(memory), q, task), strict=True):
            close(ours[b], theirs)


class Loss(torch.nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


def test_gradcheck_of_the_meta_loss():
    """Through the gradients too, which only ``first_order=False`` does."""
    learner, episode = build(first_order=False), draw()
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters], eps=1e-7)


# The limits.


def silence(writer):
    with torch.no_grad():
        writer.output.weight.zero_()
        writer.output.bias.zero_()


def test_with_fast_weights_that_are_zero_it_is_the_slow_network():
    learner, episode = build(), draw()
    silence(learner.to_fast_weights)
    x = episode.query.x
    close(learner(episode).logits, learner.base(learner.base.body(x)).log_softmax(-1), 1e-14)
    with pytest.raises(AssertionError):
        close(build()(episode).logits, learner(episode).logits, 1e-3)


def test_with_zero_task_weights_the_keys_are_those_of_the_slow_network():
    learner, episode = build(), draw()
    right = learner.representation(learner.representation.body(episode.support.x))
    assert (learner.adapt(episode.support).keys - right).abs().max() > 1e-3
    silence(learner.to_task_weights)
    close(learner.adapt(episode.support).keys, right, 1e-14)
    other = build(summary="none")
    other.load_state_dict(learner.state_dict(), strict=False)
    close(other(episode).logits, learner(episode).logits, 1e-14)


@pytest.mark.parametrize("scale", [0.0, 1e7])
def test_with_scale_0_all_slots_are_read_alike_and_with_a_large_one_the_nearest_alone(scale):
    learner, episode = build(scale=scale), draw()
    state = learner.adapt(episode.support)
    r = learner.representation(learner.representation.body(episode.query.x), state.embedding)
    a = learner.read.attention(r, state.keys)
    nearest = F.cosine_similarity(r.unsqueeze(2), state.keys.unsqueeze(1), dim=-1).argmax(-1)
    right = torch.full_like(a, 1 / WAY) if scale == 0 else F.one_hot(nearest, WAY).to(a.dtype)
    close(a, right, 1e-6)


def test_without_fast_weights_the_support_set_means_nothing():
    learner = build(fast=False)
    outputs = [learner(Episode(draw(seed=s).support, draw().query)).logits for s in (1, 2)]
    assert torch.equal(*outputs)


def test_a_network_with_more_outputs_serves_tasks_of_more_classes():
    """The same weights, N = 2 and N = 5; of five rows a two-way task uses the first two."""
    weights = build(rows=5).state_dict()
    for way in (2, 5):
        u, b = AugmentedNet(MLP(DIM, F_U, hidden=()), (F_U, 6, D)), AugmentedNet(MLP(DIM, F_B, hidden=()), (F_B, 4, 5))
        learner = MetaNet(u, b, Classification(way), hidden=H).double()
        learner.load_state_dict(weights)
        support = Examples(torch.randn(1, way, DIM, dtype=DOUBLE), torch.arange(way).unsqueeze(0))
        assert learner.predict(learner.adapt(support), support.x).probs.shape == (1, way, way)


def test_a_shared_body_is_one_module_and_runs_once():
    body, runs = MLP(DIM, F_B, hidden=()), []
    body.register_forward_hook(lambda *_: runs.append(1))
    learner = MetaNet(AugmentedNet(body, (F_B, D)), AugmentedNet(body, (F_B, WAY)), Classification(WAY)).double()
    learner.meta_loss(draw())
    assert len(runs) == 2  # support set, query set


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"summary": "sum"}, "summary: 'sum' given; allowed are lstm, mean, none"),
        ({"loss": "triplet"}, "loss: 'triplet' given; allowed are cross-entropy, contrastive"),
        ({"rows": 2}, "base: 2 outputs given; 3-way tasks need as many"),
        ({"fast": False, "slow": False}, "fast, slow: False and False given"),
        ({"scale": -1}, "scale: -1 given; a finite number of at least 0"),
        ({"reads": 0}, "reads: 0 given; at least 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_it_needs_classes():
    net = AugmentedNet(Pixels(), (2, 2))
    with pytest.raises(ValueError, match=r"likelihood: Regression\(1\) given; Meta Networks need classes"):
        MetaNet(net, net, Regression())
