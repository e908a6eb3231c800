"""Matching networks against numbers by hand, and against loops over queries, examples and the gates of the LSTMs."""

import math

import pytest
import torch
from torch import nn

from metabook.checks import check_episode
from metabook.episode import Episode, Examples, union
from metabook.likelihood import Classification, Regression
from metabook.metric import MatchingNet, ProtoNet
from metabook.nn import Conv4, Linear, Pixels

B, WAY, Q = 3, 3, 5


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def labels(*values):
    return torch.tensor([values])


def hand(examples=((1, 0), (0, 2), (-3, 0)), y=(0, 1, 0)):
    """One task, two classes in the plane. Query (3, 4) of class 0."""
    return Episode(Examples(tensor(examples), labels(*y)), Examples(tensor([(3, 4)]), labels(0)))


def test_by_hand():
    """The query (3, 4) has length 5. Cosines to (1, 0), (0, 2), (-3, 0): 3/5, 4/5, -3/5; five times that: 3, 4, -3.

    p(0) = (e^3 + e^-3) / (e^3 + e^4 + e^-3): both examples of class 0 vote for it. Bare cosines: e^0.6 and so on.
    """
    for scale, (a, b, c) in {5.0: (3, 4, -3), 1.0: (0.6, 0.8, -0.6)}.items():
        learner = MatchingNet(Pixels(), Classification(2), scale=scale)
        slots = learner.adapt(hand().support)
        assert slots.keys.tolist() == hand().support.x.tolist() and slots.values.tolist() == [[[1, 0], [0, 1], [1, 0]]]
        right = (math.exp(a) + math.exp(c)) / (math.exp(a) + math.exp(b) + math.exp(c))
        assert learner(hand()).probs[0, 0, 0].item() == pytest.approx(right, rel=1e-14)
        assert learner.meta_loss(hand()).item() == pytest.approx(-math.log(right), rel=1e-12)


class Stretch(nn.Module):
    """(x_1, s x_2)."""

    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.s = nn.Parameter(tensor(1.0))

    def forward(self, x):
        return torch.cat([x[..., :1], self.s * x[..., 1:]], -1)


def test_by_hand_the_gradient_of_a_stretch():
    """Support (1, 0) of class 0 and (0, 2) of class 1; the query becomes (3, 4s), of length sqrt(9 + 16 s^2).

    L(s) = log(1 + e^d) with d = 5 (4s - 3) / sqrt(9 + 16 s^2), and dd/ds = 5 (36 + 48 s) / (9 + 16 s^2)^(3/2).
    At s = 1: d = 1, dd/ds = 84/25, so dL/ds = (84/25) / (1 + 1/e).
    """
    net = Stretch()
    loss = MatchingNet(net, Classification(2), scale=5.0).meta_loss(hand(((1, 0), (0, 2)), (0, 1)))
    assert loss.item() == pytest.approx(math.log(1 + math.e), rel=1e-12)
    assert torch.autograd.grad(loss, net.s)[0].item() == pytest.approx(84 / 25 / (1 + math.exp(-1)), rel=1e-12)


def test_by_hand_the_keys_in_context():
    """An LSTM of zeros has gates 1/2. With candidate bias b and t = tanh b its cells are t/2 and then 3t/4.

    Its outputs are half their tanh. Only the forward direction has the bias, so the second key moves further.
    """
    learner = MatchingNet(Pixels(), Classification(2), full_context=True, features=2, steps=0).double()
    with torch.no_grad():
        for p in learner.encoder.parameters():
            p.zero_()
        learner.encoder.bias_ih_l0[4:6] = tensor(1.0, -2.0)  # the candidate is the third of the four gates
    keys = learner.adapt(hand(((1, 0), (0, 2)), (0, 1)).support).keys
    t = [math.tanh(1.0), math.tanh(-2.0)]
    moved = [[math.tanh(v / 2) / 2 for v in t], [math.tanh(3 * v / 4) / 2 for v in t]]
    torch.testing.assert_close(keys[0], tensor((1, 0), (0, 2)) + tensor(*moved), rtol=1e-14, atol=1e-14)


class Smooth(nn.Module):
    """A tiny embedding without kinks, as a network that takes tasks."""

    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(2, 4), Linear(4, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def own():
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Tanh())


NETS = {  # builder, shape of an input, D
    "smooth": (Smooth, (2,), 3),
    "conv": (lambda: Conv4(1, width=3, size=4, blocks=2), (1, 4, 4), 3),
    "own": (own, (2,), 4),
}
every = pytest.mark.parametrize("name", NETS)
both = pytest.mark.parametrize("full_context", [False, True], ids=["plain", "full-context"])


def build(name="smooth", full_context=False, **options):
    torch.manual_seed(0)
    make, _, features = NETS[name]
    options = {"scale": 4.0, "features": features, "steps": 2} | options
    return MatchingNet(make(), Classification(WAY), full_context=full_context, **options).double()


def draw(name="smooth", shots=(2, 2, 2), seed=0):
    """shots: support examples of each class, which may differ; the classes come in random order."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(WAY).repeat_interleave(torch.tensor(shots))
    y = torch.stack([y[torch.randperm(len(y), generator=generator)] for _ in range(B)])
    x = [torch.randn(B, n, *NETS[name][1], generator=generator, dtype=torch.float64) for n in (sum(shots), Q)]
    return Episode(Examples(x[0], y), Examples(x[1], torch.randint(0, WAY, (B, Q), generator=generator)))


def embed(net, x):
    """The embedding of one task, [S, D]."""
    return net(x[None])[0] if getattr(net, "takes_tasks", False) else net(x)


def lstm(weights, x, h, c):
    """One step of an LSTM, gate by gate. weights: W_ih, W_hh, b_ih, b_hh."""
    w, u, b, d = weights
    i, f, g, o = ((w @ x + u @ h + b + d)[n * len(c) : (n + 1) * len(c)] for n in range(4))
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def in_context(learner, z):
    """g(x_i, S) = h_forward_i + h_backward_i + g'(x_i), one example after the other: list of [D]."""
    keys = list(z)
    for ending, order in (("", range(len(z))), ("_reverse", reversed(range(len(z))))):
        weights = [getattr(learner.encoder, f"{part}_l0{ending}") for part in ("weight_ih", "weight_hh")]
        weights += [getattr(learner.encoder, f"{part}_l0{ending}") for part in ("bias_ih", "bias_hh")]
        h = c = torch.zeros_like(z[0])
        for i in order:
            h, c = lstm(weights, z[i], h, c)
            keys[i] = keys[i] + h
    return keys


def after_reads(learner, query, keys):
    """f(x, S): K reads of the keys by one query [D]."""
    h, c = query, torch.zeros_like(query)
    cell = learner.reader
    for _ in range(learner.steps):
        a = [torch.exp(h @ key) for key in keys]
        r = sum(weight * key for weight, key in zip(a, keys, strict=True)) / sum(a)
        out, c = lstm([cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh], torch.cat([query, r]), h, c)
        h = out + query
    return h


def reference(learner, episode):
    """Equation 1 with loops: the mean loss and the probabilities [B, Q, N]."""
    total, probabilities = 0.0, []
    for b in range(B):
        z, queries = embed(learner.net, episode.support.x[b]), embed(learner.net, episode.query.x[b])
        keys = in_context(learner, z) if learner.encoder is not None else list(z)
        for j in range(Q):
            f = after_reads(learner, queries[j], keys) if learner.reader is not None else queries[j]
            weights = [torch.exp(learner.scale * (f @ k) / (f.norm() * k.norm())) for k in keys]
            votes = [sum(w for i, w in enumerate(weights) if episode.support.y[b, i] == n) for n in range(WAY)]
            p = torch.stack(votes) / sum(weights)
            total = total - torch.log(p[episode.query.y[b, j]])
            probabilities.append(p)
    return total / (B * Q), torch.stack(probabilities).view(B, Q, WAY)


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@every
@both
@pytest.mark.parametrize("shots", [(1, 1, 1), (1, 4, 2)], ids=str)
def test_loss_probabilities_and_gradient_are_those_of_the_slow_reference(name, full_context, shots, device):
    learner, episode = build(name, full_context).to(device), draw(name, shots).to(device)
    loss, probabilities = reference(learner, episode)
    close(learner(episode).probs, probabilities)
    ours, parameters = learner.meta_loss(episode), list(learner.parameters())
    close(ours, loss)
    for g, right in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(loss, parameters), strict=True):
        close(g, right)


@every
@both
def test_the_loss_is_that_of_the_predictions(name, full_context):
    learner, episode = build(name, full_context), draw(name)
    close(learner.meta_loss(episode), -learner(episode).log_prob(episode.query.y).mean())


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


@both
def test_gradcheck_of_the_meta_loss(full_context):
    learner, episode = build(full_context=full_context), draw(shots=(1, 2, 1)).tasks(slice(0, 2))
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


def test_an_infinite_scale_takes_the_label_of_the_nearest_neighbour():
    learner, episode = build(scale=1e7), draw(shots=(1, 4, 2))
    probs, chosen = learner(episode).probs, []
    for b in range(B):
        z, queries = embed(learner.net, episode.support.x[b]), embed(learner.net, episode.query.x[b])
        nearest = [max(range(len(z)), key=[(q @ s / s.norm()).item() for s in z].__getitem__) for q in queries]
        chosen.append([int(episode.support.y[b, i]) for i in nearest])
    close(probs, nn.functional.one_hot(torch.tensor(chosen), WAY).double())
    assert len({label for task in chosen for label in task}) > 1


def test_scale_zero_gives_the_frequencies_of_the_classes():
    learner, episode = build(scale=0.0), draw(shots=(1, 4, 2))
    close(learner(episode).probs, tensor(1, 4, 2).expand(B, Q, WAY) / 7)


def test_it_is_a_gaussian_kernel_estimate_on_the_unit_sphere():
    """Nadaraya-Watson with exp(-(scale / 2) |u - v|^2): on unit vectors |u - v|^2 = 2 - 2 cos."""
    learner, episode = build(), draw(shots=(1, 4, 2))
    u, v = (nn.functional.normalize(learner.net(part.x), dim=-1) for part in (episode.query, episode.support))
    kernel = torch.exp(-learner.scale / 2 * (u.unsqueeze(2) - v.unsqueeze(1)).square().sum(-1))
    y = nn.functional.one_hot(episode.support.y, WAY).double()
    close(learner(episode).probs, kernel @ y / kernel.sum(-1, keepdim=True))


def test_without_outputs_of_the_lstms_full_context_is_the_plain_network():
    full, plain, episode = build(full_context=True), build(), draw()
    plain.net.load_state_dict(full.net.state_dict())
    assert (full(episode).probs - plain(episode).probs).abs().max() > 1e-3
    with torch.no_grad():
        for p in (*full.encoder.parameters(), *full.reader.parameters()):
            p.zero_()
    close(full(episode).probs, plain(episode).probs, tolerance=1e-14)


class Unit(nn.Module):
    takes_tasks = True

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return nn.functional.normalize(self.net(x), dim=-1)


def test_one_shot_with_scale_two_it_is_a_prototypical_network_of_unit_vectors():
    """-|u - c|^2 = 2 cos - 2: the classes' logits differ by a constant. And with any scale it is one by cosine."""
    learner, episode = build(scale=2.0), draw(shots=(1, 1, 1))
    prototypes = ProtoNet(Unit(learner.net), Classification(WAY))
    close(learner(episode).probs, prototypes(episode).probs)
    cosine = ProtoNet(build().net, Classification(WAY), distance="cosine", scale=4.0).double()
    close(build()(episode).probs, cosine(episode).probs, tolerance=1e-7)  # the scale was rounded to float32 on its way
    more = draw(shots=(2, 2, 2))
    assert (learner(more).probs - prototypes(more).probs).abs().max() > 1e-3


def test_a_small_scale_compares_with_the_mean_unit_vector_of_a_class():
    """log sum_i exp(s c_i) = log K + s mean(c) + O(s^2), and with equal shots the mean alone counts."""
    learner, episode = build(scale=1e-6), draw()
    u, v = (nn.functional.normalize(learner.net(part.x), dim=-1) for part in (episode.query, episode.support))
    y = nn.functional.one_hot(episode.support.y, WAY).double()
    mean = u @ (y.mT @ v / 2).mT
    logits = learner(episode).logits / 1e-6
    close(logits - logits.mean(-1, keepdim=True), mean - mean.mean(-1, keepdim=True), tolerance=1e-5)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_no_embedding_beats_the_simplex_in_one_shot_tasks(scale):
    """Loss >= log(1 + (N-1) e^(-s N/(N-1))) with a query a class, reached by the corners of a simplex.

    One probability alone can be e^2s / (e^2s + N - 1): all other keys opposite to the query.
    """
    learner, n = MatchingNet(Pixels(), Classification(5), scale=scale), 5
    y = torch.arange(n)[None]
    bound = math.log(1 + (n - 1) * math.exp(-scale * n / (n - 1)))
    corners = torch.eye(n, dtype=torch.float64)[None] - 1 / n
    assert learner.meta_loss(Episode(Examples(corners, y), Examples(corners, y))).item() == pytest.approx(bound)
    random = torch.randn(2, 200, n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = -learner(Episode(Examples(random[0], y.expand(200, n)), Examples(random[1], y))).log_prob(y.expand(200, n))
    assert losses.mean(1).min() > bound
    line = tensor([[1.0]] + [[-1.0]] * (n - 1))
    best = learner(Episode(Examples(line, y), Examples(line[:, :1], y[:, :1]))).probs[0, 0, 0].item()
    assert best == pytest.approx(math.exp(2 * scale) / (math.exp(2 * scale) + n - 1))


def test_every_example_has_a_vote_of_its_own():
    """Repeating the examples of one class adds the logarithm of 2 to its logit and nothing to the others."""
    learner, episode = build(), draw()
    y = episode.support.y
    again = torch.stack([episode.support.x[b][y[b] == 1] for b in range(B)])
    more = union(episode.support, Examples(again, torch.ones_like(y[:, :2])))
    ratio = learner(Episode(more, episode.query)).logits - learner(episode).logits
    close(ratio[..., 1] - ratio[..., 0], torch.full((B, Q), math.log(2), dtype=torch.float64))
    close(ratio[..., 2], ratio[..., 0])


@both
def test_without_context_the_memory_only_grows(full_context):
    """Writing two sets is writing one after the other, and no slot changes; in context every key does."""
    learner, a, b = build(full_context=full_context), draw(seed=1).support, draw(seed=2).support
    together = learner.adapt(union(a, b))
    slots = [torch.cat(pair, 1) for pair in zip(learner.adapt(a), learner.adapt(b), strict=True)]
    close(together.values, slots[1])
    assert ((together.keys - slots[0]).abs().amax((0, 2)) > 1e-6).all() == full_context
    assert ((together.keys - slots[0]).abs().amax((0, 2)) < 1e-12).all() != full_context


def test_nothing_that_was_written_is_forgotten():
    """500 random keys in 20 dimensions with random labels: each one, asked for, gives its own label."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 500, 20, generator=generator, dtype=torch.float64)
    y = torch.randint(0, WAY, (1, 500), generator=generator)
    learner = MatchingNet(Pixels(), Classification(WAY), scale=50.0)
    assert learner(Episode(Examples(x, y), Examples(x, y))).probs.argmax(-1).equal(y)


@both
def test_the_order_matters_in_full_context_only_and_per_learner(full_context):
    learner, episode = build(full_context=full_context), draw()
    backwards = Examples(episode.support.x.flip(1), episode.support.y.flip(1))
    same = torch.allclose(learner(Episode(backwards, episode.query)).probs, learner(episode).probs, atol=1e-9)
    assert same != full_context and learner.ordered == full_context and not MatchingNet.ordered


def missing():
    """Task 1 has no example of class 2."""
    episode = draw()
    episode.support.y[1] = torch.tensor([0, 1, 0, 1, 0, 1])
    return episode


@both
def test_a_class_without_examples_has_probability_zero_and_spoils_no_other_task(full_context):
    learner, episode = build(full_context=full_context), missing()
    probs, complete = learner(episode).probs, learner(draw()).probs
    assert not probs.isnan().any() and (probs[1, :, 2] == 0).all()
    close(probs[1].sum(-1), torch.ones(Q, dtype=torch.float64))
    close(probs[[0, 2]], complete[[0, 2]])
    episode.query.y[1] = 0
    loss = learner.meta_loss(episode)
    gradients = torch.autograd.grad(loss, list(learner.parameters()))
    assert loss.isfinite() and all(g.isfinite().all() for g in gradients)


def test_a_class_without_examples_is_named_before_a_run():
    with pytest.raises(ValueError, match="no example of class 2 in task 1 given"):
        check_episode(missing(), Classification(WAY))


def test_a_large_scale_loses_no_class_to_rounding():
    """Votes of e^-2000 are zero in any float; their logarithms are not. The wrong class loses by 2 x 1000."""
    learner = MatchingNet(Pixels(), Classification(2), scale=1000.0)
    x, y = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]), torch.tensor([[0, 1]])
    loss = learner.meta_loss(Episode(Examples(x, y), Examples(x, 1 - y)))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(2000)


def test_an_embedding_of_zero_is_orthogonal_to_all_and_gives_no_gradient():
    zero = torch.zeros(1, 1, 2, dtype=torch.float64, requires_grad=True)
    learner = MatchingNet(Pixels(), Classification(2))
    loss = learner.meta_loss(Episode(hand().support, Examples(zero, labels(0))))
    assert loss.item() == pytest.approx(-math.log(2 / 3))
    assert torch.autograd.grad(loss, zero)[0].tolist() == [[[0, 0]]]


@every
def test_it_is_transductive_with_batch_statistics_only(name):
    assert build(name).transductive == (name != "smooth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": -1.0}, "scale: -1.0 given"),
        ({"steps": -1}, "steps: -1 given"),
        ({"full_context": True}, "features: 0 given"),
        ({"likelihood": Regression(1)}, "likelihood: Regression"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MatchingNet(Pixels(), **{"likelihood": Classification(2)} | options)
