"""MetaGAN against numbers by hand, two separate losses with loops, and prototypical networks as its limit."""

import math

import pytest
import torch
from torch import nn

from metabook.episode import Episode, Examples
from metabook.generative import MetaGAN, real_odds
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import Conv4, Linear, Pixels, TaskGenerator
from metabook.registry import build, make_tasks

B, WAY, Q, L = 3, 3, 5, 2


class Point(nn.Module):
    """A generator with one answer."""

    def __init__(self, *point):
        super().__init__()
        self.point = nn.Parameter(torch.tensor(point, dtype=torch.float64))

    def forward(self, support_x, z):
        return self.point.expand(*z.shape[:2], -1)


def hand():
    """One task, two classes in the plane. Class 0: (0, 0) and (2, 0); class 1: (4, 4). Query (1, 2) of class 0."""
    x = torch.tensor([[[0.0, 0.0], [4.0, 4.0], [2.0, 0.0]]], dtype=torch.float64)
    query = Examples(torch.tensor([[[1.0, 2.0]]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.int64))
    return Episode(Examples(x, torch.tensor([[0, 1, 0]])), query)


def test_by_hand():
    """Prototypes (1, 0) and (4, 4), that of the fakes (0, 0). The query (1, 2) has squared distances 4, 13 and 5, the
    fake (1, 1) has 1, 18 and 2.

    Supervised: log(1 + e^-9). Odds real to fake: of the query (e^-4 + e^-13) / e^-5 = e + e^-8, of the fake
    (e^-1 + e^-18) / e^-2 = e + e^-16. Then -log p(real | query) = log(1 + 1 / (e + e^-8)),
    -log p(fake | fake) = log(1 + e + e^-16), and the generator's loss is log(1 + 1 / (e + e^-16)).
    The gradient of the log odds at a fake z is 2 (sum_k w_k c_k - c_fake), w the softmax over the real classes:
    w_1 = 1 / (1 + e^17). The generator's loss has -p(fake) times that, p(fake) = 1 / (1 + e + e^-16).
    """
    learner = MetaGAN(Pixels(), Point(1.0, 1.0), Classification(2), features=2, noise=1, weight=0.5).double()
    loss = learner.meta_loss(hand())
    e = math.e
    game = [math.log(1 + 1 / (e + e**-8)), math.log(1 + e + e**-16), math.log(1 + 1 / (e + e**-16))]
    assert loss.item() == pytest.approx(math.log(1 + e**-9) + 0.5 * sum(game), rel=1e-12)
    w = 1 / (1 + e**17)
    slope = [-0.5 / (1 + e + e**-16) * 2 * c for c in ((1 - w) + 4 * w, 4 * w)]
    (grad,) = torch.autograd.grad(loss, [learner.generator.point])
    assert grad.tolist() == pytest.approx(slope, rel=1e-10)


class Smooth(nn.Module):
    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(2, 4), Linear(4, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def conv():
    return Conv4(1, width=3, size=4, blocks=2)


def own():
    return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Tanh())


NETS = {"smooth": (Smooth, (2,), 3), "conv": (conv, (1, 4, 4), 3), "own": (own, (2,), 4)}
every = pytest.mark.parametrize("name", NETS)


def make(name, weight=0.7):
    torch.manual_seed(0)
    net, shape, features = NETS[name]
    net, generator = net(), TaskGenerator(shape, noise=L, width=8)
    learner = MetaGAN(net, generator, Classification(WAY), features=features, noise=L, weight=weight).double()
    nn.init.normal_(learner.discriminator.fake)
    return learner


def draw(name, shots=(2, 2, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(WAY).repeat_interleave(torch.tensor(shots)).repeat(B, 1)
    x = [torch.randn(B, n, *NETS[name][1], generator=generator, dtype=torch.float64) for n in (sum(shots), Q)]
    return Episode(Examples(x[0], y), Examples(x[1], torch.randint(0, WAY, (B, Q), generator=generator)))


def embed(net, x):
    return net(x[None])[0] if getattr(net, "takes_tasks", False) else net(x)


def two_losses(learner, episode, weight=0.7):
    """The discriminator's and the generator's loss, with loops and probabilities; neither holds anything constant."""
    net, fake_prototype = learner.discriminator.net, learner.discriminator.fake
    torch.manual_seed(3)
    z = torch.randn(1, Q, L, dtype=torch.float64)
    of_discriminator, of_generator = 0.0, 0.0
    for b in range(B):
        support = embed(net, episode.support.x[b])
        centres = [support[episode.support.y[b] == k].mean(0) for k in range(WAY)] + [fake_prototype]
        fakes = embed(net, learner.generator(episode.support.x[b : b + 1], z)[0])
        queries = embed(net, episode.query.x[b])
        for j in range(Q):
            real, fake = (
                torch.stack([torch.exp(-((point[j] - c) ** 2).sum()) for c in centres]) for point in (queries, fakes)
            )
            k = int(episode.query.y[b, j])
            of_discriminator = of_discriminator - torch.log(real[k] / real[:WAY].sum())
            of_discriminator = of_discriminator - weight * torch.log(real[:WAY].sum() / real.sum())
            of_discriminator = of_discriminator - weight * torch.log(fake[WAY] / fake.sum())
            of_generator = of_generator - weight * torch.log(fake[:WAY].sum() / fake.sum())
    return of_discriminator / (B * Q), of_generator / (B * Q)


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def meta_loss(learner, episode):
    torch.manual_seed(3)
    return learner.meta_loss(episode)


@every
@pytest.mark.parametrize("shots", [(1, 1, 1), (1, 4, 2)], ids=str)
def test_one_scalar_has_the_gradients_of_the_two_separate_losses(name, shots):
    """For each player's parameters the gradient is that of its own loss, though the value is the sum of both."""
    learner, episode = make(name), draw(name, shots)
    scalar, losses = meta_loss(learner, episode), two_losses(learner, episode)
    close(scalar, losses[0] + losses[1])
    for player, own_loss, other_loss in (
        (learner.discriminator, losses[0], losses[1]),
        (learner.generator, losses[1], losses[0]),
    ):
        parameters = list(player.parameters())
        ours, right, both = (
            torch.autograd.grad(loss, parameters, retain_graph=True)
            for loss in (scalar, own_loss, own_loss + other_loss)
        )
        for g, r in zip(ours, right, strict=True):
            close(g, r)
        assert max((g - b).abs().max() for g, b in zip(ours, both, strict=True)) > 1e-4  # the plain sum has others


def test_central_differences_of_each_players_own_loss():
    learner, episode = make("smooth"), draw("smooth")
    for i, player in enumerate((learner.discriminator, learner.generator)):
        parameters = list(player.parameters())
        grads = torch.autograd.grad(meta_loss(learner, episode), parameters)
        generator = torch.Generator().manual_seed(1)
        direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        ends, step = [], 1e-6
        for move in (step, -2 * step, step):
            with torch.no_grad():
                for p, d in zip(parameters, direction, strict=True):
                    p.add_(move * d)
                ends.append(two_losses(learner, episode)[i])
        slope = sum((g * d).sum() for g, d in zip(grads, direction, strict=True))
        close((ends[0] - ends[1]) / (2 * step), slope, tolerance=1e-7)


@every
def test_without_the_game_it_is_a_prototypical_network(name):
    """Loss and gradient; the generator is not trained. The predictions are the base learner's for every weight."""
    learner, episode = make(name, weight=0.0), draw(name)
    base = ProtoNet(learner.discriminator.net, Classification(WAY))
    ours, theirs = learner.meta_loss(episode), base.meta_loss(episode)
    close(ours, theirs, 1e-14)
    parameters = list(learner.discriminator.net.parameters())
    grads = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (ours, theirs)]
    for g, r in zip(*grads, strict=True):
        close(g, r, 1e-14)
    others = [*learner.generator.parameters(), learner.discriminator.fake]
    assert all(not g.any() for g in torch.autograd.grad(ours, others))
    close(make(name, weight=0.7)(episode).logits, base(episode).logits, 1e-12)


def test_the_registered_system_starts_as_the_registered_base_learner():
    for tasks in (make_tasks("clusters"), make_tasks("glyphs", queries=2)):
        batch = tasks.sample(2, torch.Generator().manual_seed(0))
        ours, base = build("metagan", tasks, weight=0.0), build("prototypical", tasks)
        torch.testing.assert_close(ours.meta_loss(batch), base.meta_loss(batch))
        assert ours.fakes(batch.support, 3).shape == (2, 3, *tasks.x_shape)


def test_given_that_it_is_real_the_class_is_that_of_the_n_way_prediction():
    learner, episode = make("smooth"), draw("smooth")
    logits = learner.discriminator(learner.adapt(episode.support), episode.query.x)
    p = logits.softmax(-1)
    close(p[..., :-1] / (1 - p[..., -1:]), learner(episode).probs)
    close(real_odds(logits).sigmoid(), 1 - p[..., -1])


def test_fakes_follow_the_task_and_the_noise_and_not_the_order():
    learner, episode = make("conv"), draw("conv")
    torch.manual_seed(0)
    fakes = learner.fakes(episode.support, 4)
    assert fakes.shape == (B, 4, 1, 4, 4) and fakes.min() > 0 and fakes.max() < 1
    order = torch.tensor([5, 0, 3, 1, 2, 4])
    torch.manual_seed(0)
    close(learner.fakes(Examples(episode.support.x[:, order], episode.support.y[:, order]), 4), fakes)
    assert (fakes[0] - fakes[1]).abs().max() > 1e-6 and (fakes[:, 0] - fakes[:, 1]).abs().max() > 1e-6


@pytest.mark.parametrize("shape", [(3,), (1, 16, 16), (3, 10, 7)], ids=str)
def test_generated_inputs_have_the_shape_of_the_real_ones(shape):
    generator = TaskGenerator(shape, noise=L, width=8)
    assert generator(torch.rand(B, 4, *shape), torch.randn(B, Q, L)).shape == (B, Q, *shape)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="likelihood: Regression"):
        MetaGAN(Pixels(), Point(0.0), Regression(1), features=2)
    with pytest.raises(ValueError, match="weight: -1 given"):
        MetaGAN(Pixels(), Point(0.0), Classification(2), features=2, weight=-1)
    with pytest.raises(ValueError, match="features: 0 given"):
        MetaGAN(Pixels(), Point(0.0), Classification(2), features=0)
    with pytest.raises(ValueError, match=r"x_shape: \[2, 3\] given"):
        TaskGenerator((2, 3))
