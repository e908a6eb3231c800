"""The one-shot generator against numbers by hand, slow losses, its limits, and shifts that can all be known."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from metabook.enlarged import Enlarged, nearest_logits
from metabook.episode import Episode, Examples
from metabook.evaluation import evaluate
from metabook.generative import OneShotGenerator, squared_error
from metabook.likelihood import Classification, Regression
from metabook.nn import Deform, PairNet
from metabook.tasks.protocol import score_predictions
from metabook.training import train

B, WAY, Q, L = 2, 3, 4, 2
SIZE = 8


def test_squared_error_by_hand():
    """One pixel of 16 differs by 1: 1, then 4 (1/4)^2, then 16 (1/16)^2. All by 1: 16 + 4 * 4 + 16 = 48."""
    zero = torch.zeros(1, 2, 1, 4, 4)
    other = zero.clone()
    other[0, 0, 0, 1, 2] = 1.0
    other[0, 1] = 1.0
    assert squared_error(other, zero).tolist() == [[1 + 1 / 4 + 1 / 16, 48.0]]


class Add(nn.Module):
    """Adds the first number of the code to every pixel."""

    def forward(self, x, z):
        return x + z[..., :1, None, None]


class Says(nn.Module):
    """A network of pairs with one answer."""

    def __init__(self, *answer):
        super().__init__()
        self.answer = nn.Parameter(torch.tensor(answer, dtype=torch.float64))

    def forward(self, a, b):
        return self.answer.expand(*a.shape[:2], -1)


def blank(value):
    x = torch.full((1, 1, 1, 4, 4), value, dtype=torch.float64)
    return Examples(x, torch.zeros(1, 1, dtype=torch.int64))


def test_the_bound_by_hand():
    """Mean 1 and std e^-20, in effect 0: the drawing is the source plus 1, the target plus 1/2: 48 / 4 = 12.

    KL = (1 + 0 - 1) / 2 + 20 = 20, times beta 1/10.
    """
    learner = OneShotGenerator(Add(), Classification(2), code=1, encoder=Says(1.0, -20.0), beta=0.1)
    assert learner.meta_loss(Episode(blank(0.0), blank(0.5))).item() == pytest.approx(12 + 2, rel=1e-6)


def test_the_game_by_hand():
    """A critic that always says 0.3: -log s(0.3) - log(1 - s(0.3)) for itself, -log s(0.3) for the decoder."""
    learner = OneShotGenerator(Add(), Classification(2), code=1, critic=Says(0.3), game=2.0)
    lost, won = math.log1p(math.exp(-0.3)), math.log1p(math.exp(0.3))
    loss = learner.meta_loss(Episode(blank(0.0), blank(0.5)))
    assert loss.item() == pytest.approx(2 * (2 * lost + won), rel=1e-12)
    # the critic's own loss: d/da = -(1 - s) + s = 2 s(0.3) - 1, without the decoder's third term
    slope = torch.autograd.grad(loss, [learner.critic.answer])[0].item()
    assert slope == pytest.approx(2 * (2 / (1 + math.exp(-0.3)) - 1), rel=1e-12)


class Smooth(nn.Module):
    """Any two of them as one vector through a layer of tanh."""

    def __init__(self, inputs, outputs, draws=False):
        super().__init__()
        self.draws, self.first, self.second = draws, nn.Linear(inputs, 5), nn.Linear(5, outputs)

    def forward(self, a, b):
        y = self.second(torch.tanh(self.first(torch.cat([a.flatten(2), b.flatten(2)], 2))))
        return y.unflatten(2, a.shape[2:]) if self.draws else y


def smooth(encoder=True, critic=True, **options):
    torch.manual_seed(0)
    parts = {"encoder": Smooth(32, 2 * L) if encoder else None, "critic": Smooth(32, 1) if critic else None}
    return OneShotGenerator(Smooth(16 + L, 16, draws=True), Classification(WAY), code=L, **parts, **options).double()


def draw(size=4, shots=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.tensor([2, 0, 1] * shots).repeat(B, 1)
    x, q = (torch.rand(B, n, 1, size, size, generator=generator, dtype=torch.float64) for n in (WAY * shots, Q))
    return Episode(Examples(x, y), Examples(q, torch.randint(0, WAY, (B, Q), generator=generator)))


def slow(learner, episode, beta, game):
    """The bound, the critic's loss and the decoder's loss, query by query; nothing is held constant."""
    torch.manual_seed(1)
    noises = [torch.randn(1, Q, L, dtype=torch.float64)[0] for _ in range(bool(beta) + bool(game))]
    bound, of_critic, of_decoder = 0.0, 0.0, 0.0
    for b in range(B):
        for j in range(Q):
            labels = episode.support.y[b].tolist()
            source = episode.support.x[b, labels.index(int(episode.query.y[b, j]))][None, None]
            target = episode.query.x[b, j][None, None]
            if beta:
                code = learner.encoder(source, target)[0, 0]
                q = Normal(code[:L], code[L:].exp())
                drawn = learner.decoder(source, (q.mean + q.stddev * noises[0][j])[None, None])[0, 0, 0]
                difference = drawn - target[0, 0, 0]
                for k in (1, 2, 4):
                    for i in range(0, 4, k):
                        for m in range(0, 4, k):
                            bound = bound + k**2 * difference[i : i + k, m : m + k].mean() ** 2
                bound = bound + beta * kl_divergence(q, Normal(torch.zeros(L), torch.ones(L))).sum()
            if game:
                fake = learner.decoder(source, noises[-1][j][None, None])
                real_p, fake_p = (learner.critic(source, x).sigmoid().squeeze() for x in (target, fake))
                of_critic = of_critic - game * (real_p.log() + (1 - fake_p).log())
                of_decoder = of_decoder - game * fake_p.log()
    return bound / (B * Q), of_critic / (B * Q), of_decoder / (B * Q)


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def meta_loss(learner, episode):
    torch.manual_seed(1)
    return learner.meta_loss(episode)


@pytest.mark.parametrize(("beta", "game"), [(0.3, 0), (0, 2.0), (0.3, 2.0)], ids=["autoencoder", "gan", "both"])
def test_one_scalar_has_the_gradients_of_the_separate_losses(beta, game):
    learner, episode = smooth(bool(beta), bool(game), beta=beta or 1.0, game=game or 1.0), draw()
    scalar, (bound, of_critic, of_decoder) = meta_loss(learner, episode), slow(learner, episode, beta, game)
    close(scalar, bound + of_critic + of_decoder)
    for player, own in ((learner.decoder, bound + of_decoder), (learner.encoder, bound), (learner.critic, of_critic)):
        if player is not None:
            parameters = list(player.parameters())
            ours, right = (torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (scalar, own))
            for g, r in zip(ours, right, strict=True):
                close(g, r)


def test_gradcheck_of_the_bound():
    learner, episode = smooth(critic=False), draw()
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def loss(*values):
        with torch.no_grad():
            torch.manual_seed(1)
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    inputs = [p.detach().clone().requires_grad_() for p in parameters]
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


def test_without_copies_it_is_the_nearest_support_image():
    episode = draw()
    plain = Enlarged(lambda x, generator: x, Classification(WAY), copies=0)
    close(smooth(copies=0)(episode).probs, plain(episode).probs)


def test_the_state_is_the_support_set_and_one_drawing_for_each_code():
    learner, episode = smooth(copies=3), draw()
    state = learner.adapt(episode.support)
    assert torch.equal(state.x[:, :6], episode.support.x) and torch.equal(state.y, episode.support.y.repeat(1, 4))
    drawn = learner.draw(episode.support.x, 3)
    assert torch.equal(state.x[:, 6:12], drawn[0]) and torch.equal(learner.draw(episode.support.x, 5)[:3], drawn)
    order = torch.tensor([5, 0, 3, 1, 2, 4])
    shuffled = Examples(episode.support.x[:, order], episode.support.y[:, order])
    close(nearest_logits(learner.adapt(shuffled), episode.query.x, WAY), nearest_logits(state, episode.query.x, WAY))


def test_deform_starts_near_its_source_and_bends_by_the_code():
    torch.manual_seed(0)
    net, x = Deform(L), torch.zeros(B, 3, 1, 16, 16)
    x[..., 4:12, 6:9] = 1.0
    z = torch.randn(B, 3, L)
    y = net(x, z)
    assert y.shape == x.shape and ((y - x).abs() < 0.5).float().mean() > 0.9
    assert (net(x, -z) - y).abs().max() > 1e-3
    assert PairNet(5, size=16, width=4)(x, y).shape == (B, 3, 5)


class Shifted:
    """Classes are random strips of ink; an example is its strip in one of seven places. 3-way 1-shot."""

    likelihood, x_shape = Classification(WAY), (1, SIZE, 16)

    def sample(self, n, generator):
        strips = (torch.rand(n, WAY, SIZE, 6, generator=generator) > 0.5).float()
        y = torch.arange(WAY).repeat_interleave(4).repeat(n, 1)
        x = torch.zeros(n, WAY, 4, 1, SIZE, 16)
        places = torch.randint(2, 9, (n, WAY, 4), generator=generator)
        for place in range(2, 9):
            padded = nn.functional.pad(strips, (place, 10 - place)).unsqueeze(2).unsqueeze(2)
            x = torch.where((places == place)[..., None, None, None], padded, x)
        first = torch.arange(WAY * 4) % 4 == 0
        x = x.flatten(1, 2)
        return Episode(Examples(x[:, first], y[:, first]), Examples(x[:, ~first], y[:, ~first]))

    def score(self, learner, batch):
        return score_predictions(learner, batch)


def test_it_learns_how_examples_of_a_class_differ():
    """All that two examples of a class differ in is their place. Who knows it compares all places: no error.

    The nearest support image knows nothing of it.
    """
    tasks = Shifted()
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(2), nn.Linear(2 * SIZE * 16, 64), nn.ReLU(), nn.Linear(64, 2 * 4))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = encoder

        def forward(self, a, b):
            return self.net(torch.cat([a, b], 2))

    learner = OneShotGenerator(Deform(4), tasks.likelihood, code=4, encoder=Pair(), copies=30, beta=0.3)
    settings = {"episodes": 200, "batch": 100, "device": "cpu"}
    before = evaluate(learner, tasks, **settings)["accuracy"].mean
    plain = evaluate(Enlarged(lambda x, generator: x, tasks.likelihood, copies=0), tasks, **settings)["accuracy"].mean

    def every_place(x, generator):
        return torch.roll(x, int(torch.randint(-6, 7, (), generator=generator)), -1)

    known = evaluate(Enlarged(every_place, tasks.likelihood, copies=60), tasks, **settings)["accuracy"].mean
    train(learner, tasks, steps=400, batch=16, lr=3e-3, device="cpu", progress="none", micro_batch=16)
    after = evaluate(learner, tasks, **settings)["accuracy"].mean
    assert known > 0.99 and max(plain, before) < 0.5 and after > 0.85


def test_what_does_not_fit_is_named():
    decoder, classes = Smooth(16 + L, 16, draws=True), Classification(2)
    with pytest.raises(ValueError, match="encoder, critic: None given for both"):
        OneShotGenerator(decoder, classes)
    with pytest.raises(ValueError, match="likelihood: Regression"):
        OneShotGenerator(decoder, Regression(1), critic=Says(0.0))
    with pytest.raises(ValueError, match="beta: -1 given"):
        OneShotGenerator(decoder, classes, critic=Says(0.0), beta=-1)
