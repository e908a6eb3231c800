"""SNAIL against numbers by hand, and against loops that run through a whole sequence for every query."""

import math

import pytest
import torch
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.metric import SNAIL
from metabook.nn import AttentionBlock, CausalChain, Conv4, Linear, Pixels

B, WAY, Q = 3, 3, 5
SMALL = {"max_shots": 1, "filters": 2, "attention": ((2, 4), (4, 3))}


class Smooth(nn.Module):
    """A tiny embedding without kinks, as a network that takes tasks."""

    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(2, 4), Linear(4, 5)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def conv():
    return Conv4(1, 5, width=4, size=4, blocks=2)


def own():
    return nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Tanh())


NETS = {"smooth": (Smooth, (2,)), "conv": (conv, (1, 4, 4)), "own": (own, (2,))}
every = pytest.mark.parametrize("name", NETS)


def build(name, **options):
    torch.manual_seed(0)
    return SNAIL(NETS[name][0](), Classification(WAY), features=5, **{**SMALL, **options}).double()


def draw(name, shots=2, seed=0):
    """Support examples in random order, and queries of random classes."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(WAY).repeat_interleave(shots)
    y = torch.stack([y[torch.randperm(len(y), generator=generator)] for _ in range(B)])
    x = [torch.randn(B, n, *NETS[name][1], generator=generator, dtype=torch.float64) for n in (WAY * shots, Q)]
    return Episode(Examples(x[0], y), Examples(x[1], torch.randint(0, WAY, (B, Q), generator=generator)))


def order_of(seed, s, device="cpu"):
    """The permutation that meta_loss draws after this seed."""
    torch.manual_seed(seed)
    return torch.randperm(s, device=device)


def meta_loss(learner, episode, seed=0):
    torch.manual_seed(seed)
    return learner.meta_loss(episode)


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def attention_read(learner):
    """Make the one attention block ask with 1, find the first feature as key, and read the label; the head shows it."""
    block, way = learner.body.layers[0], learner.likelihood.size
    with torch.no_grad():
        for p in learner.parameters():
            p.zero_()
        block.query.bias.fill_(1)
        block.key.weight[0, 0] = 1
        block.value.weight[:, -way:] = torch.eye(way)
        learner.head.weight[:, -way:] = torch.eye(way)
    return learner


def hand():
    """Two classes on the line. Support: ln 2 of class 0, then 0 of class 1. Query: 0, of class 0."""
    support = Examples(torch.tensor([[[math.log(2)], [0.0]]], dtype=torch.float64), torch.tensor([[0, 1]]))
    return Episode(support, Examples(torch.zeros(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.int64)))


def test_by_hand():
    """Weights of the query's look: e^ln2 = 2, e^0 = 1 and, for itself, 1; as shares 1/2, 1/4, 1/4.

    It reads 1/2 of label 0 and 1/4 of label 1, and of itself no label. p(0) = 1 / (1 + e^(-1/4)).
    With a factor s after it the loss is log(1 + e^(-s/4)), with slope -1/4 / (1 + e^(s/4)).
    """
    learner = SNAIL(Pixels(), Classification(2), features=1, max_shots=1, attention=((1, 2),)).double()
    attention_read(learner)
    episode = hand()
    state = learner.adapt(episode.support)
    assert state[0, 0].tolist() == [math.log(2), 1, 0, 1, 0]  # the first sees itself alone
    assert state[0, 1].tolist() == pytest.approx([0, 0, 1, 2 / 3, 1 / 3], rel=1e-14)
    assert learner(episode).probs[0, 0, 0].item() == pytest.approx(1 / (1 + math.exp(-1 / 4)), rel=1e-14)
    loss = learner.meta_loss(episode)  # the order does not matter to a single look
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1 / 4)), rel=1e-13)
    slope = (torch.autograd.grad(loss, learner.head.weight)[0] * learner.head.weight).sum()
    assert slope.item() == pytest.approx(-1 / 4 / (1 + math.exp(1 / 4)), rel=1e-12)


def embed(net, x):
    """The embedding of one task, [S, D]."""
    return net(x[None])[0] if getattr(net, "takes_tasks", False) else net(x)


def slow(layer, sequence):
    """A layer on a list of vectors, one position after the other; each looks back from where it stands."""
    if isinstance(layer, CausalChain):
        for part in layer.layers:
            sequence = slow(part, sequence)
        return sequence
    out = []
    for t, x in enumerate(sequence):
        if isinstance(layer, AttentionBlock):
            q = layer.query.weight @ x + layer.query.bias
            total, read = 0.0, 0.0
            for z in sequence[: t + 1]:
                k = layer.key.weight @ z + layer.key.bias
                e = torch.exp(sum(q * k) / math.sqrt(len(k)))
                total, read = total + e, read + e * (layer.value.weight @ z + layer.value.bias)
            new = read / total
        else:
            both = layer.now.weight @ x + layer.now.bias
            if t >= layer.dilation:
                both = both + layer.before.weight @ sequence[t - layer.dilation]
            half = len(both) // 2
            new = torch.tanh(both[:half]) / (1 + torch.exp(-both[half:]))
        out.append(torch.cat([x, new]))
    return out


def reference(learner, support, query):
    """Mean loss with a whole sequence of S + 1 for every query; also the activations of the supports, [B, S, C]."""
    total, states = 0.0, []
    for b in range(B):
        z, queries = embed(learner.net, support.x[b]), embed(learner.net, query.x[b])
        eye = torch.eye(WAY, dtype=z.dtype, device=z.device)
        past = [torch.cat([z[i], eye[support.y[b, i]]]) for i in range(len(z))]
        for j in range(Q):
            whole = slow(learner.body, [*past, torch.cat([queries[j], 0 * eye[0]])])
            logits = learner.head.weight @ whole[-1] + learner.head.bias
            total = total + torch.log(sum(torch.exp(v) for v in logits)) - logits[query.y[b, j]]
        states.append(torch.stack(whole[:-1]))
    return total / (B * Q), torch.stack(states)


@every
@pytest.mark.parametrize("shots", [1, 2])
def test_loss_state_and_gradient_are_those_of_the_slow_reference(name, shots, device):
    """Two shots make the sequence longer than the four positions that the convolutions reach."""
    learner, episode = build(name).to(device), draw(name, shots).to(device)
    order = order_of(7, WAY * shots, device)
    shuffled = Examples(episode.support.x[:, order], episode.support.y[:, order])
    loss, states = reference(learner, shuffled, episode.query)
    close(learner.adapt(shuffled), states)
    ours, parameters = meta_loss(learner, episode, 7), list(learner.parameters())
    close(ours, loss)
    pairs = [torch.autograd.grad(v, parameters, materialize_grads=True) for v in (ours, loss)]
    for g, right in zip(*pairs, strict=True):
        close(g, right)


@every
def test_predictions_are_those_of_the_plain_network_on_every_sequence(name, device):
    """B Q sequences of S + 1 through the causal network, and its last position; that is what the state saves."""
    learner, (support, query) = build(name).to(device), draw(name).to(device)
    with torch.no_grad():
        z = [torch.stack([embed(learner.net, x) for x in part.x]) for part in (support, query)]
        labels = torch.eye(WAY, dtype=z[0].dtype, device=device)[support.y]
        past = torch.cat([z[0], labels], -1).unsqueeze(1).expand(-1, Q, -1, -1)
        last = torch.cat([z[1], z[1].new_zeros(B, Q, WAY)], -1).unsqueeze(2)
        whole = learner.body(torch.cat([past, last], 2).flatten(0, 1))
        close(learner(Episode(support, query)).probs, learner.head(whole[:, -1]).softmax(-1).view(B, Q, WAY), 1e-12)


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return meta_loss(self.learner, self.episode)


def test_gradcheck_of_the_meta_loss():
    learner, episode = build("smooth", attention=((2, 2), (2, 2))), draw("smooth", 1)
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def value(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(value, [p.detach().clone().requires_grad_() for p in parameters], fast_mode=True)


def test_with_silent_convolutions_and_one_look_it_reads_like_a_matching_network():
    """Dense blocks without output and a second block that reads nothing leave one look: keys and queries are the
    features, values the labels. Per query: sum_s a_s y_s with a = softmax over z_q.z_s / sqrt(D), matching networks'
    prediction for a dot product, times the share that the query does not spend on itself."""
    learner = build("smooth", attention=((5, WAY), (2, 2)))
    first, net = learner.body.layers[0], learner.net
    with torch.no_grad():
        for name, p in learner.named_parameters():
            if not name.startswith("net."):
                p.zero_()
        first.query.weight[:, :5] = first.key.weight[:, :5] = torch.eye(5)
        first.value.weight[:, 5:] = torch.eye(WAY)
        learner.head.weight[:, 5 + WAY : 5 + 2 * WAY] = torch.eye(WAY)
    support, query = draw("smooth")
    probs = learner(Episode(support, query)).probs
    for b in range(B):
        z, queries = embed(net, support.x[b]), embed(net, query.x[b])
        for j in range(Q):
            e = [torch.exp(z[i] @ queries[j] / math.sqrt(5)) for i in range(len(z))]
            own = torch.exp(queries[j] @ queries[j] / math.sqrt(5))
            matching = torch.stack([sum(e[i] for i in range(len(z)) if support.y[b, i] == k) for k in range(WAY)])
            matching = matching / sum(e)
            close(probs[b, j], (matching * sum(e) / (sum(e) + own)).softmax(0), 1e-12)
            assert probs[b, j].argmax() == matching.argmax()
    shuffled = Examples(support.x.flip(1), support.y.flip(1))  # and a set, not a sequence
    close(learner(Episode(shuffled, query)).probs, probs, 1e-12)


def test_it_cannot_see_the_future():
    """The state at the first s examples is the state of those s examples, and no gradient comes from later ones."""
    learner, (support, _) = build("smooth"), draw("smooth")
    state = learner.adapt(support)
    for s in range(1, WAY * 2):
        close(learner.adapt(Examples(support.x[:, :s], support.y[:, :s])), state[:, :s], 1e-13)
    x = support.x.clone().requires_grad_()
    for s in range(WAY * 2):
        (slope,) = torch.autograd.grad(learner.adapt(Examples(x, support.y))[:, s].sum(), x)
        assert (slope[:, s + 1 :] == 0).all() and (slope[:, s] != 0).any()


def test_a_query_carries_no_label_and_every_support_label_counts():
    learner, (support, query) = build("smooth"), draw("smooth")
    before = learner(Episode(support, query)).probs
    for s in range(WAY * 2):
        y = support.y.clone()
        y[:, s] = (y[:, s] + 1) % WAY
        assert ((learner(Episode(Examples(support.x, y), query)).probs - before).abs().amax((1, 2)) > 1e-9).all()


def test_the_loss_is_that_of_the_predictions_in_a_random_order():
    """One order for the batch, from torch's generator; predictions themselves draw nothing."""
    learner, (support, query) = build("smooth"), draw("smooth")
    losses = set()
    for seed in range(4):
        order = order_of(seed, WAY * 2)
        shuffled = Episode(Examples(support.x[:, order], support.y[:, order]), query)
        nll = -learner(shuffled).log_prob(query.y).mean()
        close(meta_loss(learner, Episode(support, query), seed), nll, 1e-12)
        losses.add(round(nll.item(), 12))
    assert len(losses) == 4
    state = torch.get_rng_state()
    learner(Episode(support, query))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_papers_sizes():
    """5-way, five shots: T = 26, so 5 dense blocks a TC block, and channels 64 + 5, then as in the appendix."""
    learner = SNAIL(Pixels(), Classification(5))
    first, tc, second, again, third = learner.body.layers
    assert [d.dilation for d in tc.layers] == [d.dilation for d in again.layers] == [1, 2, 4, 8, 16]
    assert first.outputs == 64 + 5 + 32 and tc.outputs == first.outputs + 5 * 128
    assert second.outputs == tc.outputs + 128 and third.outputs == second.outputs + 5 * 128 + 256
    assert learner.head.weight.shape == (5, third.outputs)
    assert [p.shape[0] for p in (first.key.weight, second.key.weight, third.key.weight)] == [64, 256, 512]
    more = SNAIL(Pixels(), Classification(20))
    assert len(more.body.layers[1].layers) == 7  # T = 101
    assert "codes" not in learner.state_dict()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"likelihood": Regression()}, ValueError, r"likelihood: Regression\(1\) given; one-hot labels need classes"),
        ({"features": 0}, ValueError, "features: 0 given"),
        ({"max_shots": 0}, ValueError, "max_shots: 0 given"),
        ({"max_shots": 1.5}, TypeError, "max_shots: 1.5 given"),
        ({"filters": 0}, ValueError, "filters: 0 given"),
        ({"attention": ()}, ValueError, "layers: none given"),
    ],
)
def test_bad_arguments(options, error, message):
    likelihood = options.pop("likelihood", Classification(WAY))
    with pytest.raises(error, match=message):
        SNAIL(Pixels(), likelihood, **options)


def test_a_network_with_other_features_is_named():
    learner = SNAIL(Pixels(), Classification(WAY), features=3)
    with pytest.raises(ValueError, match=r"net: outputs of shape \[2\] given; features=3 is needed"):
        learner.adapt(draw("smooth").support)


@every
def test_it_is_transductive_with_batch_statistics_only(name):
    assert build(name).transductive == (name != "smooth")
