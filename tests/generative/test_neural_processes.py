"""The neural process family against numbers by hand, and against loops over tasks, examples, heads and grid points."""

import math

import pytest
import torch
from torch import nn

from metabook.episode import Episode, Examples, union
from metabook.generative import (
    CNP,
    AttentiveCNP,
    AttentiveNeuralProcess,
    ConvCNP,
    NeuralProcess,
    TransformerNP,
)
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, GridNet, LatentEncoder, MultiHead, TransformerBlock

B, S, Q, D, Z = 3, 4, 5, 4, 3
FLOOR = 0.25


def mlp(inputs, outputs):
    return MLP(inputs, outputs, hidden=(5,), activation="tanh")


def build(name, x=1):
    torch.manual_seed(0)
    likelihood, option = Regression(), {"floor": FLOOR}
    encoder, place, attention = mlp(x + 1, D), mlp(x, D), MultiHead(D, heads=2)
    latent = LatentEncoder(mlp(x + 1, D), D, Z)
    if name == "cnp":
        learner = CNP(encoder, mlp(x + D, 2), likelihood, **option)
    elif name == "attentive-cnp":
        learner = AttentiveCNP(encoder, place, attention, mlp(x + D, 2), likelihood, **option)
    elif name == "neural-process":
        learner = NeuralProcess(latent, mlp(x + Z, 2), likelihood, samples=6, draws=2, **option)
    elif name == "attentive-neural-process":
        parts = encoder, place, attention, latent, mlp(x + D + Z, 2)
        learner = AttentiveNeuralProcess(*parts, likelihood, samples=6, draws=2, **option)
    elif name == "conv-cnp":
        learner = ConvCNP(GridNet(2, width=3, dilations=(1, 2)), mlp(3, 2), likelihood, per_unit=2, **option)
    else:
        blocks = [TransformerBlock(D, heads=2) for _ in range(2)]
        learner = TransformerNP(mlp(x + 2, D), blocks, mlp(D, 2), likelihood, **option)
    return learner.double()


DETERMINISTIC = ("cnp", "attentive-cnp", "conv-cnp", "transformer-np")
LATENT = ("neural-process", "attentive-neural-process")
every = pytest.mark.parametrize("name", [*DETERMINISTIC, *LATENT])


def draw(x=1, seed=0, s=S, q=Q):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        xs = 4 * torch.rand(B, n, x, generator=generator, dtype=torch.float64) - 2
        return Examples(xs, torch.randn(B, n, 1, generator=generator, dtype=torch.float64))

    return Episode(part(s), part(q))


def meta_loss(learner, episode):
    torch.manual_seed(7)  # the draws of the latent systems
    return learner.meta_loss(episode)


# The slow references: vectors and loops.


def one(net, *values):
    return net(torch.cat([v.reshape(-1) for v in values])[None, None])[0, 0]


def log_density(out, y):
    mean, sd = out[0], FLOOR + torch.log(1 + torch.exp(out[1]))
    return -((y - mean) ** 2) / (2 * sd**2) - torch.log(sd) - 0.5 * math.log(2 * math.pi)


def attend(layer, query, keys, values):
    parts, d = [], D // layer.heads
    for h in range(layer.heads):
        rows = slice(h * d, (h + 1) * d)
        q = layer.query.weight[rows] @ query
        scores = [torch.exp((q * (layer.key.weight[rows] @ k)).sum() / math.sqrt(d)) for k in keys]
        read = [w / sum(scores) * (layer.value.weight[rows] @ v) for w, v in zip(scores, values, strict=True)]
        parts.append(sum(read))
    return layer.out.weight @ torch.cat(parts)


def codes(net, support, b):
    return [one(net, support.x[b, s], support.y[b, s]) for s in range(support.x.shape[1])]


def belief(latent, examples, b):
    each = codes(latent.net, examples, b)
    mean = sum(each) / len(each)
    hidden = torch.clamp(latent.hidden.weight @ mean + latent.hidden.bias, min=0)
    out = latent.head.weight @ hidden + latent.head.bias
    return torch.distributions.Normal(out[:Z], 0.1 + 0.9 / (1 + torch.exp(-out[Z:])))


def look(m, support, x, b):
    keys = [one(m.place, support.x[b, s]) for s in range(S)]
    return attend(m.attention, one(m.place, x), keys, codes(m.encoder, support, b))


def cnp(m, support, x, b):
    return one(m.decoder, x, sum(codes(m.encoder, support, b)) / S)


def attentive_cnp(m, support, x, b):
    return one(m.decoder, x, look(m, support, x, b))


def conv_cnp(m, support, x, b):
    xs, ys = support.x[b, :, 0], support.y[b, :, 0]
    origin, known = (min(xs) + max(xs)) / 2, {}

    def on_grid(layer, k):
        """Features at grid point k before ``layer``, each computed once."""
        if (layer, k) not in known:
            if layer == 0:
                psi = torch.exp(-((origin + 0.5 * k - xs) ** 2) / 2 * torch.exp(-2 * m.enter.log_scale))
                density = sum(psi)
                h = one(m.net.first, torch.stack([density, sum(psi * ys) / (density + 1e-5)]))
            else:
                d, f = m.net.dilations[layer - 1], m.net.layers[layer - 1]
                taps = [torch.clamp(on_grid(layer - 1, k + i * d), min=0) for i in (-2, -1, 0, 1, 2)]
                h = on_grid(layer - 1, k) + f.weight @ torch.cat(taps) + f.bias
            known[layer, k] = h
        return known[layer, k]

    near = range(-24, 25)  # far more than a query reads
    psi = [torch.exp(-((origin + 0.5 * k - x[0]) ** 2) / 2 * torch.exp(-2 * m.leave.log_scale)) for k in near]
    return one(m.decoder, sum(w * on_grid(2, k) for w, k in zip(psi, near, strict=True)) / sum(psi))


def transformer_np(m, support, x, b):
    def norm(layer, v):
        return v / torch.sqrt((v**2).sum() / len(v) + 1e-6) * layer.weight

    def step(block, v, memory):
        m = [norm(block.before, u) for u in memory]
        v = v + attend(block.attention, norm(block.before, v), m, m)
        up = torch.clamp(block.up.weight @ norm(block.between, v) + block.up.bias, min=0)
        return v + block.down.weight @ up + block.down.bias

    yes, no = torch.ones(1, dtype=x.dtype), torch.zeros(1, dtype=x.dtype)
    tokens = [one(m.embed, support.x[b, s], support.y[b, s], yes) for s in range(S)]
    v = one(m.embed, x, no, no)
    for block in m.blocks:
        v, tokens = step(block, v, tokens), [step(block, u, tokens) for u in tokens]
    return one(m.decoder, v)


REFERENCES = {"cnp": cnp, "attentive-cnp": attentive_cnp, "conv-cnp": conv_cnp, "transformer-np": transformer_np}


def reference(name, m, episode):
    support, query = episode
    if name in DETERMINISTIC:
        outs = [[REFERENCES[name](m, support, query.x[b, j], b) for j in range(Q)] for b in range(B)]
        fit = sum(log_density(outs[b][j], query.y[b, j, 0]) for b in range(B) for j in range(Q))
        return -fit / (B * Q)
    torch.manual_seed(7)
    noise, total = torch.randn(2, Z), 0.0
    for b in range(B):
        q, prior = belief(m.latent, union(*episode), b), belief(m.latent, support, b)
        for e in noise.double():
            z = q.loc + q.scale * e
            for j in range(Q):
                known = [query.x[b, j]] + ([look(m, support, query.x[b, j], b)] if "attentive" in name else [])
                total = total + log_density(one(m.decoder, *known, z), query.y[b, j, 0]) / 2
        total = total - torch.distributions.kl_divergence(q, prior).sum()
    return -total / (B * Q)


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@every
def test_loss_and_gradient_are_those_of_the_slow_reference(name, device):
    learner, episode = build(name), draw()
    loss = reference(name, learner, episode)
    ours, parameters = meta_loss(learner, episode), list(learner.parameters())
    close(ours, loss)
    theirs = torch.autograd.grad(loss, parameters, materialize_grads=True)
    for g, right in zip(torch.autograd.grad(ours, parameters, materialize_grads=True), theirs, strict=True):
        close(g, right)


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return meta_loss(self.learner, self.episode)


@every
def test_gradcheck_of_the_meta_loss(name):
    """Along 3 random directions of the parameters: the tiny networks have up to 200 of them."""
    learner, episode = build(name), draw(s=2, q=2)
    names, parameters = zip(*learner.named_parameters(), strict=True)
    start = [p.detach().clone() for p in parameters]
    ways = [[torch.randn_like(p) for p in start] for _ in range(3)]

    def along(t):
        weights = {
            f"learner.{n}": p + sum(t[i] * way[k] for i, way in enumerate(ways))
            for k, (n, p) in enumerate(zip(names, start, strict=True))
        }
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(along, torch.zeros(3, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_loss_is_that_of_the_predictions(name):
    learner, episode = build(name), draw()
    close(meta_loss(learner, episode), -learner(episode).log_prob(episode.query.y).mean())


class Targets(nn.Module):
    """h(x, y) = y."""

    def forward(self, v):
        return v[..., 1:]


class Code(nn.Module):
    """g(x, r) = (r, 0): the mean is the code, the standard deviation the floor + log 2."""

    def forward(self, v):
        return torch.stack([v[..., 1], torch.zeros_like(v[..., 1])], -1)


def test_cnp_by_hand():
    """Targets 1, 2 and 6 have the mean code r = 3. At a target of 3 + s, s = floor + log 2, one sd away:

    -log N = 1/2 + log s + 1/2 log 2 pi.
    """
    s = 0.5 + math.log(2)
    x = torch.zeros(1, 3, 1, dtype=torch.float64)
    support = Examples(x, torch.tensor([[[1.0], [2.0], [6.0]]], dtype=torch.float64))
    query = Examples(x[:, :1], torch.full((1, 1, 1), 3 + s, dtype=torch.float64))
    learner = CNP(Targets(), Code(), Regression(), floor=0.5)
    assert learner.adapt(support).item() == 3.0
    loss = learner.meta_loss(Episode(support, query))
    assert loss.item() == pytest.approx(0.5 + math.log(s) + 0.5 * math.log(2 * math.pi), rel=1e-12)


def test_a_standard_deviation_is_never_below_its_floor():
    """Outputs of -50 give a raw width of e^-50: the floor is what is left, below the noise 0.05 of the tasks."""
    learner = CNP(Targets(), nn.Linear(2, 2), Regression()).double()
    with torch.no_grad():
        learner.decoder.weight.zero_()
        learner.decoder.bias.fill_(-50.0)
    assert torch.allclose(learner(draw()).stddev, torch.tensor(0.01, dtype=torch.float64))


def test_attention_that_weighs_all_alike_is_a_cnp():
    """Without query weights all scores are 0 and every weight is 1/S. Then the code is W_o W_v times the mean code."""
    attentive, episode = build("attentive-cnp", x=2), draw(x=2)
    with torch.no_grad():
        attentive.attention.query.weight.zero_()
        matrix = attentive.attention.out.weight @ attentive.attention.value.weight
    mix = nn.Linear(D, D, bias=False).double()
    mix.weight.data = matrix
    plain = CNP(nn.Sequential(attentive.encoder, mix), attentive.decoder, Regression(), floor=FLOOR)
    plain.encoder.takes_tasks = True
    close(attentive.meta_loss(episode), plain.meta_loss(episode), 1e-12)
    w = attentive.attention.weights(torch.randn(B, Q, D).double(), torch.randn(B, S, D).double())
    close(w, torch.full_like(w, 1 / S), 1e-14)


def without(learner, columns):
    """The decoder's first layer no longer reads ``columns`` of its input."""
    with torch.no_grad():
        learner.decoder.layers[0].weight[:, columns] = 0
    return learner


def test_deaf_to_one_path_it_is_the_system_with_the_other():
    """Attentive neural process: without z, an attentive CNP, whatever the draw; without attention, a neural process."""
    episode, likelihood = draw(), Regression()
    m = without(build("attentive-neural-process"), slice(1 + D, None))
    decoder = mlp(1 + D, 2).double()
    decoder.load_state_dict(m.decoder.state_dict() | {"layers.0.weight": m.decoder.layers[0].weight[:, : 1 + D]})
    other = AttentiveCNP(m.encoder, m.place, m.attention, decoder, likelihood, floor=FLOOR)
    close(m(episode).mean, other(episode).mean.expand(6, -1, -1, -1), 1e-12)

    m = without(build("attentive-neural-process"), slice(1, 1 + D))
    decoder, keep = mlp(1 + Z, 2).double(), [0, *range(1 + D, 1 + D + Z)]
    decoder.load_state_dict(m.decoder.state_dict() | {"layers.0.weight": m.decoder.layers[0].weight[:, keep]})
    other = NeuralProcess(m.latent, decoder, likelihood, samples=6, draws=2, floor=FLOOR)
    close(meta_loss(m, episode), meta_loss(other, episode), 1e-12)
    close(m(episode).mean, other(episode).mean, 1e-12)


def test_a_transformer_that_reads_nothing_does_not_adapt():
    m = build("transformer-np")
    with torch.no_grad():
        for block in m.blocks:
            block.attention.out.weight.zero_()
    a, b = draw(), draw(seed=1)
    assert torch.equal(m(a).mean, m(Episode(b.support, a.query)).mean)


@every
def test_the_order_of_the_support_set_changes_nothing(name):
    learner, (support, query) = build(name), draw()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Examples(support.x[:, order], support.y[:, order])
    close(learner(Episode(shuffled, query)).mean, learner(Episode(support, query)).mean, 1e-12)


@pytest.mark.parametrize("name", ["cnp", "neural-process"])
def test_a_mean_does_not_see_a_set_given_twice(name):
    """What a mean of codes cannot tell: the same support set twice. Attention cannot either; a density can."""
    learner, (support, query) = build(name), draw()
    close(learner(Episode(union(support, support), query)).mean, learner(Episode(support, query)).mean, 1e-12)
    learner = build("conv-cnp")
    both = [learner(Episode(s, query)).mean for s in (support, union(support, support))]
    assert (both[0] - both[1]).abs().max() > 1e-4


@every
def test_classes_are_refused(name):
    learner = build(name)
    parts = {
        "cnp": lambda k: CNP(nn.Identity(), nn.Identity(), k),
        "conv-cnp": lambda k: ConvCNP(learner.net, nn.Identity(), k),
        "attentive-cnp": lambda k: AttentiveCNP(nn.Identity(), nn.Identity(), MultiHead(8), nn.Identity(), k),
        "transformer-np": lambda k: TransformerNP(nn.Identity(), list(learner.blocks), nn.Identity(), k),
        "neural-process": lambda k: NeuralProcess(learner.latent, nn.Identity(), k),
        "attentive-neural-process": lambda k: AttentiveNeuralProcess(
            nn.Identity(), nn.Identity(), MultiHead(8), learner.latent, nn.Identity(), k
        ),
    }
    with pytest.raises(ValueError, match=r"likelihood: Classification\(3\) given; predictions are Normal, Regression"):
        parts[name](Classification(3))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="heads: 3 given; their number must divide the width, 8"):
        MultiHead(8, heads=3)
    with pytest.raises(ValueError, match="blocks: none given; at least one is needed"):
        TransformerNP(nn.Identity(), [], nn.Identity(), Regression())
    with pytest.raises(ValueError, match="floor: 0 given; a finite number above 0 is needed"):
        CNP(nn.Identity(), nn.Identity(), Regression(), floor=0)
    with pytest.raises(ValueError, match="samples: 0 given"):
        NeuralProcess(build("neural-process").latent, nn.Identity(), Regression(), samples=0)
    broken = build("cnp")
    with torch.no_grad():
        broken.decoder.layers[0].weight.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="outputs: 30 of 30 not finite; lower the lr it was trained with"):
        broken(draw())
