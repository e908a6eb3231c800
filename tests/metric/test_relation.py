"""Relation networks against numbers by hand, against loops over pairs, and against the systems they contain."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet, RelationNet
from metabook.nn import MLP, FeatureMaps, Linear, Pixels, RelationModule
from metabook.nn.relation_module import compare_maps, compare_vectors

B, WAY, Q = 3, 3, 4
LOSSES = ("mse", "cross-entropy")


class Dot(nn.Module):
    """t times the scalar product of query and class."""

    def __init__(self):
        super().__init__()
        self.t = nn.Parameter(torch.tensor(math.log(3), dtype=torch.float64))

    def forward(self, query, classes):
        return self.t * query @ classes.mT


class Bilinear(nn.Module):
    """q W c."""

    def __init__(self, features):
        super().__init__()
        self.w = nn.Parameter(torch.randn(features, features, dtype=torch.float64))

    def forward(self, query, classes):
        return query @ self.w @ classes.mT


class Distance(nn.Module):
    """Minus the squared distance between a query and the mean of ``shots`` examples, whose sum it is given."""

    def __init__(self, shots):
        super().__init__()
        self.shots = shots

    def forward(self, query, classes):
        return -(query.unsqueeze(2) - classes.unsqueeze(1) / self.shots).square().sum(-1)


class Free(nn.Module):
    """A score for each class that is learned, whatever the query and the class look like."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))

    def forward(self, query, classes):
        return self.logits.expand(*query.shape[:2], -1)


def hand(*queries):
    """One task, two classes in the plane. Class 0: (1, 1) and (0, -1); class 1: (0, 1). Queries of class 0."""
    x = torch.tensor([[[1.0, 1.0], [0.0, 1.0], [0.0, -1.0]]], dtype=torch.float64)
    query = torch.tensor([queries], dtype=torch.float64)
    return Episode(
        Examples(x, torch.tensor([[0, 1, 0]])), Examples(query, torch.zeros(1, len(queries), dtype=torch.int64))
    )


def test_by_hand():
    """The sums are c_0 = (1, 0) and c_1 = (0, 1). The query (1, -1) has the products 1 and -1.

    Times log 3: log 3 and -log 3, so r = 3/4 and 1/4. Squared error to (1, 0): (1/16 + 1/16) / 2 = 1/16. The odds
    are 3 and 1/3, so p = 9/10 and 1/10, with cross-entropy log(10/9).
    """
    episode = hand((1.0, -1.0))
    learners = [RelationNet(Pixels(), Dot(), Classification(2), loss=loss) for loss in LOSSES]
    for learner in learners:
        state = learner.adapt(episode.support)
        assert state.tolist() == [[[1.0, 0.0], [0.0, 1.0]]]
        close(learner.relation_scores(state, episode.query.x), torch.tensor([[[3 / 4, 1 / 4]]], dtype=torch.float64))
        close(learner(episode).probs, torch.tensor([[[9 / 10, 1 / 10]]], dtype=torch.float64))
    losses = [learner.meta_loss(episode).item() for learner in learners]
    assert losses == pytest.approx([1 / 16, math.log(10 / 9)], rel=1e-12)


def test_by_hand_scores_that_do_not_sum_to_one():
    """The query (1, 0): products 1 and 0, r = 3/4 and 1/2, odds 3 and 1, p = 3/4 and 1/4."""
    learner = RelationNet(Pixels(), Dot(), Classification(2))
    close(learner(hand((1.0, 0.0))).probs, torch.tensor([[[3 / 4, 1 / 4]]], dtype=torch.float64))


def test_by_hand_the_gradient_of_the_scale():
    """With the query (1, -1) the loss is L(t) = (1 - s(t))^2 for the sigmoid s, since s(-t) = 1 - s(t).

    dL/dt = -2 (1 - s) s (1 - s); at t = log 3, where s = 3/4: -2 * 1/4 * 3/16 = -3/32.
    """
    learner = RelationNet(Pixels(), Dot(), Classification(2))
    loss = learner.meta_loss(hand((1.0, -1.0)))
    assert torch.autograd.grad(loss, learner.relation.t)[0].item() == pytest.approx(-3 / 32, rel=1e-12)


def test_the_best_score_is_the_fraction_of_right_pairs_among_those_that_look_alike():
    """Of four queries that look alike three are of class 0: the scores 3/4 and 1/4 have the least squared error."""
    learner = RelationNet(Pixels(), Free([math.log(3), -math.log(3)]), Classification(2))
    support, query = hand(*[(1.0, 1.0)] * 4)
    episode = Episode(support, Examples(query.x, torch.tensor([[0, 0, 1, 0]])))
    best = learner.meta_loss(episode)
    assert best.item() == pytest.approx(3 / 16, rel=1e-12)  # 3/4 * 1/4, the variance of the target
    slope = torch.autograd.grad(best, learner.relation.logits)[0]
    close(slope, torch.zeros_like(slope), 1e-15)
    for change in ([0.3, 0.0], [-0.3, 0.0], [0.0, 0.3], [0.0, -0.3]):
        with torch.no_grad():
            learner.relation.logits.add_(torch.tensor(change))
            assert learner.meta_loss(episode) > best + 1e-4
            learner.relation.logits.sub_(torch.tensor(change))


class Smooth(nn.Module):
    """A tiny body without kinks, as a network that takes tasks."""

    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(2, 4), Linear(4, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def smooth():
    rest = nn.Sequential(nn.Tanh(), Linear(4, 1))
    return Smooth(), RelationModule(Linear(3, 4), Linear(3, 4, bias=False), rest)


def vectors():
    return MLP(2, 3, hidden=(4,)), compare_vectors(3, 4)


def maps(norm):
    return FeatureMaps(1, width=2, size=16, norm=norm), compare_maps(2, 4, norm=norm, hidden=3)


CASES = {
    "smooth": (smooth, (2,)),
    "vectors": (vectors, (2,)),
    "batch": (lambda: maps("batch"), (1, 16, 16)),
    "group": (lambda: maps("group"), (1, 16, 16)),
    "none": (lambda: maps("none"), (1, 16, 16)),
}
every = pytest.mark.parametrize("name", CASES)
both = pytest.mark.parametrize("loss", LOSSES)


def build(name, way=WAY, loss="mse"):
    torch.manual_seed(0)
    learner = RelationNet(*CASES[name][0](), Classification(way), loss=loss).double()
    with torch.no_grad():
        for p in learner.parameters():  # away from zero shifts and equal scales
            p.add_(0.1 * torch.randn_like(p))
    return learner


def draw(shape, shots=(2, 2, 2), seed=0):
    """shots: support examples of each class, which may differ; the classes come in random order."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(len(shots)).repeat_interleave(torch.tensor(shots))
    y = torch.stack([y[torch.randperm(len(y), generator=generator)] for _ in range(B)])
    x = [torch.randn(B, n, *shape, generator=generator, dtype=torch.float64) for n in (sum(shots), Q)]
    return Episode(Examples(x[0], y), Examples(x[1], torch.randint(0, len(shots), (B, Q), generator=generator)))


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def block(x, conv, norm, kind, pool):
    """Convolution, norm, ReLU, max-pool, with torch's own functions. x: [n, C, H, W], all of one task."""
    weight, bias = conv
    x = F.conv2d(x, weight, bias, padding=1)
    if kind == "batch":
        x = F.batch_norm(x, None, None, *norm, training=True)
    elif kind == "group":
        x = F.group_norm(x, 1, *norm)
    return F.max_pool2d(F.relu(x), 2) if pool else F.relu(x)


def own(layer):
    return layer.weight, layer.bias


def embed(learner, name, x):
    """The body on the examples of one task."""
    if name == "smooth":
        return F.linear(torch.tanh(F.linear(x, *own(learner.body.first))), *own(learner.body.second))
    if name == "vectors":
        return F.linear(F.relu(F.linear(x, *own(learner.body.layers[0]))), *own(learner.body.layers[1]))
    weights = [own(layer) for layer in learner.body.features if list(layer.parameters())]
    for i in range(4):
        conv, norm = (weights[i], None) if name == "none" else (weights[2 * i], weights[2 * i + 1])
        x = block(x, conv, norm, name, pool=i < 2)
    return x


def compare(learner, name, pairs):
    """The relation module on concatenated pairs [n, 2C, ...] of one task, class first."""
    g = learner.relation
    first = torch.cat([g.of_class.weight, g.of_query.weight], 1), g.of_class.bias
    layers = [own(layer) for layer in g.rest if list(layer.parameters())]
    if name == "smooth":
        return F.linear(torch.tanh(F.linear(pairs, *first)), *layers[0])
    if name == "vectors":
        return F.linear(F.relu(F.linear(F.relu(F.linear(pairs, *first)), *layers[0])), *layers[1])
    convolutions, norms = [first, layers[0]], [None, None]
    if name != "none":
        convolutions, norms = [first, layers[1]], [layers[0], layers[2]]
    for conv, norm in zip(convolutions, norms, strict=True):
        pairs = block(pairs, conv, norm, name, pool=True)
    return F.linear(F.relu(F.linear(pairs.flatten(1), *layers[-2])), *layers[-1])


def reference(learner, name, episode, loss):
    """Loops over tasks, queries and classes: the loss, the class maps [B, N, ...] and the predictions [B, Q, N]."""
    total, sums, predictions = 0.0, [], []
    for b in range(B):
        z, queries = embed(learner, name, episode.support.x[b]), embed(learner, name, episode.query.x[b])
        classes = [sum(z[i] for i in range(len(z)) if episode.support.y[b, i] == k) for k in range(WAY)]
        pairs = torch.stack([torch.cat([classes[k], queries[j]]) for j in range(Q) for k in range(WAY)])
        numbers = compare(learner, name, pairs).reshape(Q, WAY)
        for j in range(Q):
            y = int(episode.query.y[b, j])
            if loss == "mse":
                r = [1 / (1 + torch.exp(-v)) for v in numbers[j]]
                total = total + sum((r[k] - (1.0 if k == y else 0.0)) ** 2 for k in range(WAY)) / WAY
                odds = [v / (1 - v) for v in r]
                predictions += [v / sum(odds) for v in odds]
            else:
                weights = [torch.exp(v) for v in numbers[j]]
                total = total - torch.log(weights[y] / sum(weights))
                predictions += [v / sum(weights) for v in weights]
        sums.append(torch.stack(classes))
    return total / (B * Q), torch.stack(sums), torch.stack(predictions).view(B, Q, WAY)


@every
@both
@pytest.mark.parametrize("shots", [(1, 1, 1), (1, 3, 2)], ids=str)
def test_loss_maps_predictions_and_gradient_are_those_of_the_slow_reference(name, loss, shots, device):
    learner, episode = build(name, loss=loss).to(device), draw(CASES[name][1], shots).to(device)
    right, sums, predictions = reference(learner, name, episode, loss)
    close(learner.adapt(episode.support), sums)
    close(learner(episode).probs, predictions)
    ours, parameters = learner.meta_loss(episode), list(learner.parameters())
    close(ours, right)
    for g, wanted in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(right, parameters), strict=True):
        close(g, wanted)


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


@both
def test_gradcheck_of_the_meta_loss(loss):
    learner, episode = build("smooth", loss=loss), draw((2,), (1, 3, 2))
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


@pytest.mark.parametrize("shots", [1, 3])
def test_with_minus_squared_distance_it_is_prototypical_networks(shots):
    """The same probabilities with both losses; with cross-entropy also the same loss and gradient."""
    episode, likelihood = draw((2,), (shots,) * WAY), Classification(WAY)
    torch.manual_seed(0)
    body = Smooth().double()
    proto = ProtoNet(body, likelihood)
    squared, ours = (RelationNet(body, Distance(shots), likelihood, loss=loss) for loss in LOSSES)
    close(ours(episode).probs, proto(episode).probs)
    close(squared(episode).probs, proto(episode).probs)
    close(ours.meta_loss(episode), proto.meta_loss(episode))
    grads = [torch.autograd.grad(m.meta_loss(episode), list(body.parameters())) for m in (ours, proto, squared)]
    for a, b in zip(*grads[:2], strict=True):
        close(a, b)
    assert (grads[2][0] - grads[1][0]).abs().max() > 0.01


def test_with_a_bilinear_relation_it_is_a_linear_classifier():
    """Weights W c_k on the features of the query."""
    torch.manual_seed(0)
    learner = RelationNet(Smooth().double(), Bilinear(3), Classification(WAY), loss="cross-entropy")
    episode = draw((2,))
    weights = learner.adapt(episode.support) @ learner.relation.w.T  # [B, N, D], row k is W c_k
    for b in range(B):
        z = learner.body(episode.query.x[b][None])[0]
        close(learner(episode).probs[b], torch.stack([z @ w for w in weights[b]], 1).softmax(1))


def test_a_linear_relation_of_the_concatenation_cannot_compare():
    """w_c.c + w_q.q: the second term is the same for all classes, so the query has no say in the softmax."""
    torch.manual_seed(0)
    relation = RelationModule(Linear(3, 1), Linear(3, 1, bias=False), nn.Identity())
    learner = RelationNet(Smooth(), relation, Classification(WAY), loss="cross-entropy").double()
    probs = learner(draw((2,))).probs
    close(probs, probs[:, :1].expand_as(probs), 1e-12)
    assert (probs[0] - probs[1]).abs().max() > 0.01  # but the support set has


@pytest.mark.parametrize("name", ["vectors", "group"])
def test_copies_of_the_support_set_multiply_the_class_maps(name):
    """A sum, not a mean: three copies of every example give three times the map, and so other predictions."""
    learner, episode = build(name), draw(CASES[name][1], (1, 2, 1))
    once = learner.adapt(episode.support)
    copies = Examples(episode.support.x.repeat_interleave(3, 1), episode.support.y.repeat_interleave(3, 1))
    close(learner.adapt(copies), 3 * once)
    thrice, x = learner.adapt(copies), episode.query.x
    close(learner.predict(thrice, x).probs, learner.predict(3 * once, x).probs)
    assert (learner.predict(thrice, x).probs - learner.predict(once, x).probs).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "alone"), [("vectors", True), ("group", True), ("none", True), ("batch", False)])
def test_a_score_depends_on_its_own_class_and_query_alone_without_batch_statistics(name, alone):
    learner, episode = build(name), draw(CASES[name][1])
    state, x = learner.adapt(episode.support), episode.query.x
    changed, other = state.clone(), x.clone()
    changed[:, 1:] += 1
    other[:, 1:] += 1
    difference = learner.relation_scores(changed, other)[:, 0, 0] - learner.relation_scores(state, x)[:, 0, 0]
    assert (difference.abs().max() < 1e-12) == alone


@every
def test_the_same_weights_serve_any_number_of_classes(name):
    three, five = build(name), build(name, way=5)
    five.load_state_dict(three.state_dict())
    episode = draw(CASES[name][1], (2, 1, 1, 3, 1))
    state = five.adapt(episode.support)
    assert five(episode).probs.shape == (B, Q, 5)
    if not five.transductive:
        fewer = three.relation_scores(state[:, :3], episode.query.x)
        close(five.relation_scores(state, episode.query.x)[..., :3], fewer)


@every
def test_the_class_maps_have_the_shape_of_what_the_body_gives(name):
    shape = {"smooth": (3,), "vectors": (3,)}.get(name, (2, 4, 4))
    assert build(name).adapt(draw(CASES[name][1]).support).shape == (B, WAY, *shape)


def test_very_sure_scores_leave_predictions_and_loss_finite():
    """exp(-10,000) is zero, its logarithm is not."""
    learner = RelationNet(Pixels(), Free([-1e4, -2e4]), Classification(2))
    episode = hand((1.0, 0.0))
    assert learner(episode).probs.tolist() == [[[1.0, 0.0]]]
    assert learner(episode).log_prob(torch.ones(1, 1)).item() == -1e4
    assert learner.meta_loss(episode).item() == pytest.approx(1 / 2)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"likelihood: Regression\(1\) given; relations need classes"):
        RelationNet(Pixels(), Dot(), Regression(1))
    with pytest.raises(ValueError, match="loss: 'l2' given; allowed are mse, cross-entropy"):
        RelationNet(Pixels(), Dot(), Classification(2), loss="l2")
    wrong = RelationNet(Pixels(), Free([0.0]), Classification(2))
    with pytest.raises(ValueError, match=r"relation: outputs of shape \[1, 1, 1\] given; \[1, 1, 2\] is needed"):
        wrong.meta_loss(hand((1.0, 0.0)))


@every
def test_it_is_transductive_with_batch_statistics_only(name):
    assert build(name).transductive == (name == "batch")
