"""Meta-regularised MAML against numbers by hand, and against a slow reference that shares no code with the package."""

import math

import pytest
import torch
from torch import nn

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear
from metabook.optimization import MAML, MRMAML
from metabook.optimization.meta_regularised import normal_kl

B = 3


def number(value):
    return torch.tensor(value, dtype=torch.float64)


# By hand.


@pytest.mark.parametrize(
    ("mean", "std", "prior", "expected"),
    [
        (0.0, 1.0, 1.0, 0.0),
        (1.0, 0.5, 1.0, math.log(2) + (0.25 + 1) / 2 - 0.5),  # 0.8181
        (1.0, 0.5, 2.0, math.log(4) + (0.25 + 1) / 8 - 0.5),  # 1.0425
        (3.0, 2.0, 2.0, 9 / 8),
    ],
)
def test_by_hand_the_kl_of_normals(mean, std, prior, expected):
    """log(s / std) + (std^2 + mean^2) / (2 s^2) - 1/2, and the same from torch.distributions."""
    ours = normal_kl(number(mean), number(std).log(), prior).item()
    q, p = torch.distributions.Normal(number(mean), number(std)), torch.distributions.Normal(0.0, number(prior))
    assert ours == pytest.approx(expected, abs=1e-14)
    assert ours == pytest.approx(torch.distributions.kl_divergence(q, p).item(), abs=1e-14)


def one_weight(value):
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, value)
    return net


def points(*values):
    support_x, support_y, query_x, query_y = (torch.full((1, 1, 1), v, dtype=torch.float64) for v in values)
    return Episode(Examples(support_x, support_y), Examples(query_x, query_y))


def test_by_hand_noise_on_the_start():
    """q(w) = N(1, 0.5^2), support (1, 2), query (2, 3), inner rate 0.1; the draw is w = 1 + 0.5 e.

    w' = w - 0.1 * 2 (w - 2) = 0.8 w + 0.4. L = (2 w' - 3)^2 = (1.6 w - 2.2)^2 and dL/dw = 3.2 (1.6 w - 2.2).
    KL = log 2 + 1.25 / 2 - 0.5, and d KL / d mean = 1, d KL / d log std = 0.25 - 1.
    """
    learner = MRMAML(one_weight(1.0), Regression(), inner_lr=0.1, beta=0.01, start_std=0.5)
    torch.manual_seed(3)
    e = torch.randn(1, 1, dtype=torch.float64).item()
    w = 1 + 0.5 * e
    torch.manual_seed(3)
    loss = learner.meta_loss(points(1.0, 2.0, 2.0, 3.0))
    slope = 3.2 * (1.6 * w - 2.2)
    assert loss.item() == pytest.approx((1.6 * w - 2.2) ** 2 + 0.01 * (math.log(2) + 0.125), abs=1e-9)
    grads = torch.autograd.grad(loss, [learner.net.weight, learner.log_std[0]])
    assert grads[0].item() == pytest.approx(slope + 0.01, abs=1e-9)
    assert grads[1].item() == pytest.approx(slope * 0.5 * e - 0.01 * 0.75, abs=1e-9)


def test_by_hand_the_encoder_is_shared_and_does_not_adapt():
    """z = v x, out = w z, with v = 2 (no noise), w = 1, support (1, 1), query (1, 2), inner rate 0.1.

    w' = w - 0.1 * 2 (w v - 1) v = 1 - 0.4 = 0.6; out = 1.2, L = 0.64. dw'/dw = 1 - 0.2 v^2 = 0.2,
    so dL/dw = 2 * (-0.8) * 2 * 0.2 = -0.64. dw'/dv = -0.2 (2 w v - 1) = -0.6, d out / dv = 0.6 - 1.2 = -0.6 and
    dL/dv = 2 * (-0.8) * (-0.6) = 0.96, to which beta KL adds beta v = 0.2.
    """
    learner = MRMAML(one_weight(1.0), Regression(), encoder=one_weight(2.0), inner_lr=0.1, beta=0.1)
    nn.init.constant_(learner.log_std[0], -50.0)
    episode = points(1.0, 1.0, 1.0, 2.0)
    state = learner.adapt(episode.support)
    assert list(state) == ["weight"] and state["weight"].item() == pytest.approx(0.6, abs=1e-15)
    assert learner(episode).mean.item() == pytest.approx(1.2, abs=1e-15)
    loss = learner.meta_loss(episode)
    assert loss.item() == pytest.approx(0.64 + 0.1 * (50 + 2 - 0.5), abs=1e-12)
    grads = torch.autograd.grad(loss, [learner.net.weight, learner.encoder.weight])
    assert [g.item() for g in grads] == pytest.approx([-0.64, 1.16], abs=1e-12)


# The slow reference: lists of tensors, loops over tasks and steps. Noise is redrawn from the same seed.


def forward(weights, x):
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = torch.tanh(x @ w.T + b)
    return x @ weights[-2].T + weights[-1]


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def kl_by_density(mean, std, prior):
    """E_q[log q - log p] from the moments of a normal."""
    log_q = -0.5 * math.log(2 * math.pi) - std.log() - 0.5
    log_p = -0.5 * math.log(2 * math.pi) - math.log(prior) - (std**2 + mean**2) / (2 * prior**2)
    return (log_q - log_p).sum()


def reference(learner, episode, seed, *, steps, beta, prior, first_order=False):
    torch.manual_seed(seed)
    weights = list(learner.net.parameters())
    encoder = list(learner.encoder.parameters()) if learner.encoder is not None else []
    kl = 0.0
    if learner.form == "weights":
        noisy, stds = (encoder or weights), [s.exp() for s in learner.log_std]
        for place, std in zip(range(0, len(noisy), 2), stds, strict=True):  # matrices, not biases
            kl = kl + kl_by_density(noisy[place], std, prior)
            noisy[place] = noisy[place] + std * torch.randn_like(noisy[place])
        codes = [[forward(encoder, x) if encoder else x for x in part.x] for part in episode]
    else:
        codes = []
        for last, part in enumerate(episode):
            size = learner.net.first.in_features
            outs = [forward(encoder, x) for x in part.x]
            noise = torch.randn(B, part.x.shape[1], size, dtype=torch.float64)
            codes.append([o[:, :size] + o[:, size:].exp() * e for o, e in zip(outs, noise, strict=True)])
            if last:
                kl = sum(kl_by_density(o[:, :size], o[:, size:].exp(), 1.0) / len(o) for o in outs) / B
    total = beta * kl
    for b in range(B):
        phi = weights
        for _ in range(steps):
            loss = task_loss(forward(phi, codes[0][b]), episode.support.y[b])
            grads = torch.autograd.grad(loss, phi, create_graph=not first_order, retain_graph=True)
            phi = [w - 0.1 * g for w, g in zip(phi, grads, strict=True)]
        total = total + task_loss(forward(phi, codes[1][b]), episode.query.y[b]) / B
    return total


class Smooth(nn.Module):
    """A tiny network without kinks from layers that take stacked weights."""

    takes_tasks = True

    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.second = Linear(inputs, 3), Linear(3, outputs)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


FORMS = {"start": ("weights", None, 2), "weights": ("weights", (2, 4), 4), "activations": ("activations", (2, 8), 4)}


def build(name, kind, **options):
    form, encoder, inputs = FORMS[name]
    torch.manual_seed(0)
    net = Smooth(inputs, 3).double()
    first = None if encoder is None else Smooth(*encoder).double()
    learner = MRMAML(net, kind(3), encoder=first, form=form, inner_lr=0.1, inner_steps=2, start_std=0.3, **options)
    with torch.no_grad():
        for p in learner.log_std:
            p.add_(0.2 * torch.randn_like(p))
    return learner


def draw(kind, *, shape=(2,), seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(B, n, *shape, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(B, -1) % 3)
        return Examples(x, torch.randn(B, n, 3, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def seeded_loss(learner, episode, seed=7):
    torch.manual_seed(seed)
    return learner.meta_loss(episode)


@pytest.mark.parametrize("first_order", [False, True], ids=["second-order", "first-order"])
@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", FORMS)
def test_loss_and_meta_gradient_are_those_of_the_slow_reference(name, kind, first_order):
    learner, episode = build(name, kind, beta=0.05, prior_std=0.7, first_order=first_order), draw(kind)
    parameters = list(learner.parameters())
    ours = seeded_loss(learner, episode)
    theirs = reference(learner, episode, 7, steps=2, beta=0.05, prior=0.7, first_order=first_order)
    close(
        [ours.detach(), *torch.autograd.grad(ours, parameters)],
        [theirs.detach(), *torch.autograd.grad(theirs, parameters)],
    )


class Loss(nn.Module):
    """The meta-loss, always with the same noise, as a forward pass that functional_call can call."""

    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return seeded_loss(self.learner, self.episode)


@pytest.mark.parametrize("name", FORMS)
def test_gradcheck_of_the_meta_loss(name):
    learner, episode = build(name, Regression, beta=0.05), draw(Regression)
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{n}": v for n, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# The idea switched off: no price and no noise.

NETS = {
    "MLP": (lambda: MLP(2, 3, hidden=(5, 4)), (2,)),
    "Conv4": (lambda: Conv4(1, 3, width=3, size=16), (1, 16, 16)),
    "own": (lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)), (2,)),
}


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", NETS)
def test_without_price_and_noise_it_is_maml(name, kind):
    """exp(-1000) is 0: every draw is the mean. Losses, gradients and predictions are equal to the last bit."""
    torch.manual_seed(0)
    net, episode = NETS[name][0]().double(), draw(kind, shape=NETS[name][1])
    maml = MAML(net, kind(3), inner_lr=0.1, inner_steps=2)
    ours = MRMAML(net, kind(3), inner_lr=0.1, inner_steps=2, beta=0.0)
    for p in ours.log_std:
        nn.init.constant_(p, -1000.0)
    losses = [learner.meta_loss(episode) for learner in (maml, ours)]
    assert torch.equal(*losses)
    for a, b in zip(*(torch.autograd.grad(loss, list(net.parameters())) for loss in losses), strict=True):
        assert torch.equal(a, b)
    states = [learner.adapt(episode.support) for learner in (maml, ours)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_with_an_encoder_it_is_maml_of_the_network_behind_it():
    """Without noise: MAML on the codes, for the adapting network and, through the codes, for the encoder.

    Both forms then agree, for the encoder of form="activations" has the same means.
    """
    episode = draw(Regression)
    torch.manual_seed(0)
    net, encoder = MLP(4, 3, hidden=(5,)).double(), MLP(2, 4, hidden=(6,)).double()
    wide = MLP(2, 8, hidden=(6,)).double()
    with torch.no_grad():
        wide.layers[0].load_state_dict(encoder.layers[0].state_dict())
        wide.layers[1].weight[:4], wide.layers[1].bias[:4] = encoder.layers[1].weight, encoder.layers[1].bias
        wide.layers[1].weight[4:], wide.layers[1].bias[4:] = 0.0, -1000.0
    options = {"inner_lr": 0.1, "inner_steps": 2, "beta": 0.0}
    weights = MRMAML(net, Regression(3), encoder=encoder, **options)
    nn.init.constant_(weights.log_std[0], -1000.0)
    nn.init.constant_(weights.log_std[1], -1000.0)
    activations = MRMAML(net, Regression(3), encoder=wide, form="activations", **options)
    plain = MAML(net, Regression(3), inner_lr=0.1, inner_steps=2)
    coded = Episode(*(Examples(encoder(part.x), part.y) for part in episode))
    losses = [plain.meta_loss(coded), weights.meta_loss(episode), activations.meta_loss(episode)]
    close(losses[1:], losses[:1] * 2, tolerance=1e-12)
    shared = [[*net.parameters(), *e.parameters()] for e in (encoder, encoder, wide)]
    grads = [torch.autograd.grad(loss, p) for loss, p in zip(losses, shared, strict=True)]
    close(grads[1], grads[0], tolerance=1e-12)
    close([g[: p.shape[0]] for g, p in zip(grads[2], shared[0], strict=True)], grads[0], tolerance=1e-12)
    means = [plain(coded).mean, weights(episode).mean, activations(episode).mean]
    close(means[1:], means[:1] * 2, tolerance=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_noise_is_drawn_by_the_meta_loss_alone_and_from_the_global_generator(name):
    learner, episode = build(name, Regression), draw(Regression)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    learner(episode)
    assert torch.equal(torch.get_rng_state(), before)
    first, second = learner.meta_loss(episode), learner.meta_loss(episode)
    assert not torch.equal(first, second)
    assert torch.equal(seeded_loss(learner, episode, seed=1), first)


def test_only_matrices_and_kernels_have_noise_and_a_price():
    learner = MRMAML(Conv4(1, 3, width=2, size=16), Classification(3), start_std=0.1, prior_std=2.0)
    assert all(p.dim() > 1 for p in learner.noisy().values()) and len(learner.noisy()) == 5
    assert [p.shape for p in learner.log_std] == [p.shape for p in learner.noisy().values()]
    values = torch.cat([p.flatten() for p in learner.noisy().values()])
    q = torch.distributions.Normal(values, 0.1)
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 2.0)).sum()
    torch.testing.assert_close(learner.weight_kl(), expected)


def test_the_price_can_be_on_one_layer_alone():
    learner = MRMAML(MLP(2, 3, hidden=(4,)), Regression(3), priced="layers.1", start_std=0.3, prior_std=0.3)
    assert list(learner.noisy()) == ["layers.1.weight"]
    expected = learner.net.layers[1].weight.square().sum() / (2 * 0.09)
    torch.testing.assert_close(learner.weight_kl(), expected)


def test_the_price_alone_drives_the_weights_to_the_prior():
    """The KL has one minimum, mean 0 and std = prior_std, where it is 0."""
    learner = build("weights", Regression, prior_std=0.5)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        learner.weight_kl().backward()
        optimizer.step()
    assert learner.weight_kl().item() < 1e-6
    assert all((s.exp() - 0.5).abs().max() < 1e-3 for s in learner.log_std)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("chunk", [1, 2])
def test_the_chunk_changes_no_prediction(name, chunk):
    episode = draw(Regression)
    parts, whole = build(name, Regression, chunk=chunk), build(name, Regression)
    close([parts(episode).mean], [whole(episode).mean], tolerance=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"form": "outputs"}, ValueError, "form: 'outputs' given; allowed are weights, activations"),
        ({"form": "activations"}, ValueError, "encoder: None given; form='activations' needs one"),
        ({"priced": "tail"}, ValueError, "priced: 'tail' given; no matrix or kernel of the network has a name that"),
        ({"priced": "layers.2.bias"}, ValueError, "priced: 'layers.2.bias' given; no matrix or kernel"),
        ({"beta": -1.0}, ValueError, "beta: -1.0 given; a finite number of at least 0"),
        ({"prior_std": 0}, ValueError, "prior_std: 0 given; a finite number above 0"),
        ({"start_std": "small"}, TypeError, "start_std: 'small' given"),
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given"),
        ({"inner_steps": -1}, ValueError, "inner_steps: -1 given"),
        ({"chunk": 0}, ValueError, "chunk: 0 given"),
        (
            {"encoder": nn.BatchNorm1d(2)},
            ValueError,
            r"encoder: layer encoder \(BatchNorm1d\) keeps running statistics",
        ),
    ],
)
def test_options_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        MRMAML(MLP(2, 3), Regression(3), **options)


def test_an_encoder_with_an_odd_output_cannot_give_means_and_deviations():
    learner = MRMAML(MLP(2, 3), Regression(3), encoder=MLP(2, 5).double(), form="activations")
    with pytest.raises(ValueError, match=r"encoder: output of shape \[3, 4, 5\] given; .* needs \[B, S, 2 D\]"):
        learner.adapt(draw(Regression).support)
