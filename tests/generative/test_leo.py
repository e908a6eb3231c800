"""LEO against numbers by hand, and against a slow reference of loops that shares no code with the package."""

import math

import pytest
import torch
from torch import nn

from metabook.episode import Episode, Examples
from metabook.generative import LEO
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Linear, Pixels
from metabook.optimization import MAML

B, WAY, Q, D, Z = 3, 3, 4, 4, 2
RANDOM = (0.3, 0.2, 0.1)  # weights of KL, penalty and orthogonality, large enough to be seen


# By hand: one task, two classes on the line, one latent.


def by_hand(a=1.0, b=0.0, **options):
    """x = 1 of class 0 and x = -1 of class 1; all weights 1 but the relation's last, (a, b), and the decoder's, (1, 0).

    Of the pairs e_i + e_j only (0, 0) is above 0: it is 2. So r_0 = (a, b) (2 + 0) / 2 = (a, b) and r_1 = 0.
    """
    learner = LEO(Pixels(), Classification(2), features=1, latents=1, hidden=1, orthogonality=0, **options)
    relation = learner.relation
    for layer in (learner.encoder, relation.of_example, relation.of_partner, relation.rest.layers[0]):
        nn.init.ones_(layer.weight)
    with torch.no_grad():
        relation.rest.layers[1].weight.copy_(torch.tensor([[a], [b]]))
        learner.decoder.weight.copy_(torch.tensor([[1.0], [0.0]]))
    x = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)
    query = Examples(x[:, :1], torch.tensor([[0]]))
    return learner.double(), Episode(Examples(x, torch.tensor([[0, 1]])), query)


def test_kl_by_hand():
    """KL(N(a, e^2b) || N(0, 1)) = (e^2b + a^2 - 1) / 2 - b of class 0, nothing of class 1; the mean is half of it."""
    learner, episode = by_hand(a=3.0, b=0.5)
    mean, log_std = learner.encode(episode.support.x, episode.support.y)
    assert mean.flatten().tolist() == [3.0, 0.0] and log_std.flatten().tolist() == [0.5, 0.0]
    assert learner.adapt(episode.support).kl.item() == pytest.approx(((math.e + 9 - 1) / 2 - 0.5) / 2, rel=1e-14)


def test_by_hand(monkeypatch):
    """The codes start at (1, 0) and are the weights. L = log(1 + e^-d), d = z_0 - z_1; its gradient -+ 1 / (1 + e^d).

    One step of rate 1 + e: z' = (2, -1). One step on the weights of rate 1 + e^3: w' = (3, -2).
    Query loss log(1 + e^-5), KL (1/2 + 0) / 2 = 1/4, penalty (1^2 + 1^2) / 2 = 1.
    """
    rates = {"inner_lr": 1 + math.e, "finetune_lr": 1 + math.exp(3), "inner_steps": 1, "finetune_steps": 1}
    learner, episode = by_hand(kl_weight=0.4, encoder_penalty=0.01, **rates)
    with torch.no_grad():  # the rates were rounded to float32
        learner.inner_lr.fill_(rates["inner_lr"])
        learner.finetune_lr.fill_(rates["finetune_lr"])
    state = learner.adapt(episode.support)
    assert state.start.flatten().tolist() == [1.0, 0.0]
    torch.testing.assert_close(state.codes.flatten(), torch.tensor([2.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(state.weights.flatten(), torch.tensor([3.0, -2.0], dtype=torch.float64))
    assert learner(episode).probs[0, 0, 0].item() == pytest.approx(1 / (1 + math.exp(-5)), rel=1e-12)
    monkeypatch.setattr(torch, "randn", torch.zeros)
    right = math.log(1 + math.exp(-5)) + 0.4 / 4 + 0.01
    assert learner.meta_loss(episode).item() == pytest.approx(right, rel=1e-12)


def test_orthogonality_by_hand():
    """Rows (3, 4) and (5, 0) have cosine c = 3/5; C - I has c twice and 0 twice; the mean square is c^2 / 2 = 0.18."""
    learner = LEO(Pixels(), Classification(2), features=1, latents=2, hidden=1)
    with torch.no_grad():
        learner.decoder.weight.copy_(torch.tensor([[3.0, 4.0], [5.0, 0.0]]).T)
    assert learner.non_orthogonality().item() == pytest.approx(0.18, rel=1e-6)


def test_orthogonality_is_zero_for_orthogonal_rows_of_any_length_and_at_the_start():
    learner = LEO(Pixels(), Classification(2), features=5, latents=4, hidden=1).double()
    rows = torch.linalg.qr(torch.randn(10, 4, dtype=torch.float64)).Q.T * torch.tensor([[0.1], [1.0], [7.0], [2.0]])
    assert learner.non_orthogonality().item() < 1e-12
    with torch.no_grad():
        learner.decoder.weight.copy_(rows.T)
    assert learner.non_orthogonality().item() < 1e-24
    with torch.no_grad():
        learner.decoder.weight[0, 0] += 1
    assert learner.non_orthogonality().item() > 1e-3


# The slow reference: loops over tasks, examples, pairs, classes and steps.


def build(steps=(2, 2), weights=RANDOM, way=WAY, net=Pixels):
    torch.manual_seed(0)
    learner = LEO(
        net(),
        Classification(way),
        features=D,
        latents=Z,
        hidden=3,
        inner_lr=0.7,
        inner_steps=steps[0],
        finetune_lr=0.5,
        finetune_steps=steps[1],
        kl_weight=weights[0],
        encoder_penalty=weights[1],
        orthogonality=weights[2],
    )
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return learner.double()


def draw(shots=(2, 2, 2), seed=0):
    """shots: support examples of each class, in random order."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(WAY).repeat_interleave(torch.tensor(shots))
    y = torch.stack([y[torch.randperm(len(y), generator=generator)] for _ in range(B)])
    x = [torch.randn(B, n, D, generator=generator, dtype=torch.float64) for n in (sum(shots), Q)]
    return Episode(Examples(x[0], y), Examples(x[1], torch.randint(0, WAY, (B, Q), generator=generator)))


def cross_entropy(w, x, y):
    total = 0.0
    for i in range(len(x)):
        logits = [(w[n] * x[i]).sum() for n in range(WAY)]
        total = total - logits[y[i]] + torch.log(sum(torch.exp(v) for v in logits))
    return total / len(x)


def reference_task(m, x, y, steps, noise_z, noise_w):
    """Weights, codes before and after, and KL of one task."""
    e = [m.encoder.weight @ xi for xi in x]
    first = torch.cat([m.relation.of_example.weight, m.relation.of_partner.weight], 1)
    second, third = (layer.weight for layer in m.relation.rest.layers)
    relations = []
    for i in range(len(x)):
        pairs = [third @ (second @ (first @ torch.cat([e[i], e[j]])).clamp(min=0)).clamp(min=0) for j in range(len(x))]
        relations.append(sum(pairs) / len(x))
    means, stds = [], []
    for n in range(WAY):
        members = [relations[i] for i in range(len(x)) if y[i] == n]
        r = sum(members) / len(members)
        means.append(r[:Z])
        stds.append(torch.exp(r[Z:]))
    kl = sum((s**2 + u**2 - 1) / 2 - torch.log(s) for s, u in zip(stds, means, strict=True)).mean() / WAY

    def decode(codes):
        rows = []
        for n in range(WAY):
            out = m.decoder.weight @ codes[n]
            rows.append(out[:D] + math.sqrt(2 / (WAY + D)) * torch.exp(out[D:]) * noise_w[n])
        return rows

    start = codes = [means[n] + stds[n] * noise_z[n] for n in range(WAY)]
    for _ in range(steps[0]):
        grads = torch.autograd.grad(cross_entropy(decode(codes), x, y), codes, create_graph=True)
        codes = [c - m.inner_lr * g for c, g in zip(codes, grads, strict=True)]
    w = decode(codes)
    for _ in range(steps[1]):
        grads = torch.autograd.grad(cross_entropy(w, x, y), w, create_graph=True)
        w = [v - m.finetune_lr * g for v, g in zip(w, grads, strict=True)]
    return torch.stack(w), torch.stack(start), torch.stack(codes), kl


def reference(m, episode, steps, noise):
    total = 0.0
    for b in range(B):
        w, start, codes, kl = reference_task(m, episode.support.x[b], episode.support.y[b], steps, *noise)
        penalty = sum(((codes[n].detach() - start[n]) ** 2).sum() for n in range(WAY)) / (WAY * Z)
        total = total + cross_entropy(w, episode.query.x[b], episode.query.y[b]) + RANDOM[0] * kl + RANDOM[1] * penalty
    rows = [m.decoder.weight[:, i] for i in range(Z)]
    cosines = [[(a @ b) / (a.norm() * b.norm()) - float(a is b) for a in rows] for b in rows]
    return total / B + RANDOM[2] * sum(c**2 for row in cosines for c in row) / Z**2


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shots", [(1, 1, 1), (1, 3, 2)], ids=str)
@pytest.mark.parametrize("steps", [(0, 0), (2, 2)], ids=str)
def test_loss_and_gradients_are_those_of_the_slow_reference(shots, steps, device):
    learner, episode = build(steps).to(device), draw(shots).to(device)
    torch.manual_seed(5)
    noise = [torch.randn(1, WAY, k)[0].to(episode.query.x) for k in (Z, D)]
    loss = reference(learner, episode, steps, noise)
    torch.manual_seed(5)
    ours, parameters = learner.meta_loss(episode), list(learner.parameters())
    close(ours, loss)
    theirs = torch.autograd.grad(loss, parameters, materialize_grads=True)
    for g, right in zip(torch.autograd.grad(ours, parameters, materialize_grads=True), theirs, strict=True):
        close(g, right)


def test_the_state_is_that_of_the_slow_reference_without_noise():
    learner, episode = build(), draw((1, 3, 2))
    state = learner.adapt(episode.support)
    for b in range(B):
        zero = torch.zeros(WAY, 1, dtype=torch.float64)
        right = reference_task(learner, episode.support.x[b], episode.support.y[b], (2, 2), zero, zero)
        for ours, theirs in zip(state, right, strict=True):
            close(ours[b], theirs)


class Body(nn.Module):
    """A small smooth embedding with weights of its own, trained along."""

    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.layer = Linear(D, D)

    def forward(self, x):
        return torch.tanh(self.layer(x))


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        torch.manual_seed(5)
        return self.learner.meta_loss(self.episode)


def test_gradcheck_of_the_meta_loss():
    """Without the penalty, whose stopped gradient no finite difference can know."""
    learner, episode = build(weights=(0.3, 0.0, 0.1), net=Body), draw((1, 2, 1))
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The limits, and the parts one by one.


def test_without_steps_it_decodes_the_mean():
    learner, episode = build(steps=(0, 0)), draw()
    mean, _ = learner.encode(episode.support.x, episode.support.y)
    weights = mean @ learner.decoder.weight[:D].T
    state = learner.adapt(episode.support)
    close(state.weights, weights, 1e-14)
    assert torch.equal(state.start, state.codes)
    close(learner(episode).probs, (episode.query.x @ weights.mT).softmax(-1), 1e-14)


def test_with_codes_that_are_the_weights_and_start_at_zero_it_is_maml_of_a_linear_classifier():
    """Decoder the identity, relation nothing: the latent steps are MAML's from zero weights, one rate for all."""
    learner = LEO(Pixels(), Classification(WAY), features=D, latents=D, inner_lr=0.5, inner_steps=3, finetune_steps=0)
    net = MLP(D, WAY, hidden=(), bias=False)
    with torch.no_grad():
        learner.decoder.weight[:D] = torch.eye(D)
        learner.relation.rest.layers[-1].weight.zero_()
        net.layers[0].weight.zero_()
    maml = MAML(net, Classification(WAY), inner_lr=0.5, inner_steps=3).double()
    episode = draw((2, 1, 3))
    state = learner.double().adapt(episode.support)
    close(state.weights, maml.adapt(episode.support)["layers.0.weight"], 1e-14)
    assert state.kl.tolist() == [0.0] * B


def test_the_penalty_trains_the_encoder_alone():
    """The gradient with the penalty less the one without, under the same noise."""
    grads = []
    for weight in (1.0, 0.0):
        learner, episode = build(weights=(0.3, weight, 0.1), net=Body), draw()
        torch.manual_seed(5)
        learner.meta_loss(episode).backward()
        grads.append({name: p.grad for name, p in learner.named_parameters()})
    moved = {name for name in grads[0] if (grads[0][name] - grads[1][name]).abs().max() > 1e-9}
    relation = {"relation.of_example.weight", "relation.of_partner.weight"}
    relation |= {"relation.rest.layers.0.weight", "relation.rest.layers.1.weight"}
    assert moved == {"net.layer.weight", "net.layer.bias", "encoder.weight"} | relation


def test_noise_is_drawn_in_the_meta_loss_alone():
    learner, episode = build(), draw()
    before = torch.get_rng_state()
    learner.train()(episode)
    assert torch.equal(torch.get_rng_state(), before)
    losses = [learner.meta_loss(episode).item() for _ in range(2)]
    torch.set_rng_state(before)
    assert learner.meta_loss(episode).item() == losses[0] != losses[1]


def test_weights_are_first_drawn_with_the_standard_deviation_of_glorot():
    learner = LEO(Pixels(), Classification(WAY), features=D, latents=Z).double()
    z = torch.randn(B, WAY, Z, dtype=torch.float64)
    spread = learner.decode(z, torch.ones(1, WAY, D).double()) - learner.decode(z, torch.zeros(()).double())
    close(spread, torch.full((B, WAY, D), math.sqrt(2 / (WAY + D)), dtype=torch.float64), 1e-12)


def test_a_class_without_examples_spoils_no_other_task():
    learner, episode = build(), draw()
    right = learner.adapt(episode.support).weights
    episode.support.y[1] = torch.tensor([0, 1, 0, 1, 0, 1])
    weights = learner.adapt(episode.support).weights
    assert weights[1].isnan().any()
    close(weights[[0, 2]], right[[0, 2]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "features: 0 given; at least 1"),
        ({"latents": 0}, "latents: 0 given; at least 1"),
        ({"hidden": 0}, "hidden: 0 given; at least 1"),
        ({"inner_steps": -1}, "inner_steps: -1 given; at least 0"),
        ({"finetune_steps": -1}, "finetune_steps: -1 given; at least 0"),
        ({"inner_lr": 0}, "inner_lr: 0 given; a finite number above 0"),
        ({"finetune_lr": -1}, "finetune_lr: -1 given; a finite number above 0"),
        ({"kl_weight": -1}, "kl_weight: -1 given; a finite number of at least 0"),
        ({"encoder_penalty": -1}, "encoder_penalty: -1 given; a finite number of at least 0"),
        ({"orthogonality": -1}, "orthogonality: -1 given; a finite number of at least 0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LEO(Pixels(), Classification(2), **{"features": 2, **options})


def test_it_needs_classes():
    with pytest.raises(ValueError, match=r"likelihood: Regression\(1\) given; LEO generates classes"):
        LEO(Pixels(), Regression(), features=2)
