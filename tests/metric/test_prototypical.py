"""Prototypical networks against numbers by hand, and against loops over classes and queries."""

import math

import pytest
import torch
from torch import nn

from metabook.checks import check_episode
from metabook.episode import Episode, Examples
from metabook.evaluation import evaluate
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import Conv4, Linear, Pixels

B, WAY, Q = 3, 3, 5


def hand():
    """One task, two classes in the plane. Class 0: (0, 0) and (2, 0); class 1: (4, 4). Query (1, 2) of class 0."""
    support = Examples(
        torch.tensor([[[0.0, 0.0], [4.0, 4.0], [2.0, 0.0]]], dtype=torch.float64), torch.tensor([[0, 1, 0]])
    )
    return Episode(
        support, Examples(torch.tensor([[[1.0, 2.0]]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.int64))
    )


def test_by_hand():
    """c_0 = (1, 0), c_1 = (4, 4). Squared distances of (1, 2): 0 + 4 = 4 and 9 + 4 = 13.

    p(0) = e^-4 / (e^-4 + e^-13) = 1 / (1 + e^-9); the loss is log(1 + e^-9). Plain distances would give 2 and 3.6.
    """
    learner = ProtoNet(Pixels(), Classification(2))
    episode = hand()
    assert learner.adapt(episode.support).tolist() == [[[1.0, 0.0], [4.0, 4.0]]]
    torch.testing.assert_close(learner(episode).probs[0, 0, 0].item(), 1 / (1 + math.exp(-9)), rtol=1e-14, atol=0)
    assert learner.meta_loss(episode).item() == pytest.approx(math.log(1 + math.exp(-9)), rel=1e-12)


def test_by_hand_the_gradient_of_a_scale():
    """The embedding z = s x scales every squared distance by s^2: L(s) = log(1 + e^(-9 s^2)).

    dL/ds = -18 s / (1 + e^(9 s^2)); at s = 1/3: -6 / (1 + e).
    """
    net = Scale()
    loss = ProtoNet(net, Classification(2)).meta_loss(hand())
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-12)
    assert torch.autograd.grad(loss, net.scale)[0].item() == pytest.approx(-6 / (1 + math.e), rel=1e-12)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1 / 3, dtype=torch.float64))

    def forward(self, x):
        return self.scale * x


class Smooth(nn.Module):
    """A tiny embedding without kinks, as a network that takes tasks."""

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


NETS = {"smooth": (Smooth, (2,)), "conv": (conv, (1, 4, 4)), "own": (own, (2,))}
every = pytest.mark.parametrize("name", NETS)


def build(name, way=WAY):
    torch.manual_seed(0)
    return ProtoNet(NETS[name][0]().double(), Classification(way))


def draw(name, shots=(2, 2, 2), seed=0):
    """shots: support examples of each class, which may differ; the classes come in random order."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(WAY).repeat_interleave(torch.tensor(shots))
    y = torch.stack([y[torch.randperm(len(y), generator=generator)] for _ in range(B)])
    x = [torch.randn(B, n, *NETS[name][1], generator=generator, dtype=torch.float64) for n in (sum(shots), Q)]
    return Episode(Examples(x[0], y), Examples(x[1], torch.randint(0, WAY, (B, Q), generator=generator)))


def embed(net, x):
    """The embedding of one task, [S, D]."""
    return net(x[None])[0] if getattr(net, "takes_tasks", False) else net(x)


def reference(net, episode):
    """Algorithm 1 with loops: class means, squared distances, minus log softmax. Also the prototypes, [B, N, D]."""
    total, prototypes = 0.0, []
    for b in range(B):
        z, queries = embed(net, episode.support.x[b]), embed(net, episode.query.x[b])
        means = []
        for k in range(WAY):
            members = [z[i] for i in range(len(z)) if episode.support.y[b, i] == k]
            means.append(sum(members) / len(members))
        for j in range(Q):
            d = [((queries[j] - c) ** 2).sum() for c in means]
            total = total + d[episode.query.y[b, j]] + torch.log(sum(torch.exp(-v) for v in d))
        prototypes.append(torch.stack(means))
    return total / (B * Q), torch.stack(prototypes)


def close(ours, theirs, tolerance=1e-9):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@every
@pytest.mark.parametrize("shots", [(1, 1, 1), (2, 2, 2), (1, 4, 2)], ids=str)
def test_loss_prototypes_and_gradient_are_those_of_the_slow_reference(name, shots, device):
    learner, episode = build(name).to(device), draw(name, shots).to(device)
    loss, prototypes = reference(learner.net, episode)
    close(learner.adapt(episode.support), prototypes)
    ours, parameters = learner.meta_loss(episode), list(learner.parameters())
    close(ours, loss)
    for g, right in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(loss, parameters), strict=True):
        close(g, right)


@every
def test_the_loss_is_that_of_the_predictions(name):
    learner, episode = build(name), draw(name)
    nll = -learner(episode).log_prob(episode.query.y).mean()
    close(learner.meta_loss(episode), nll)


class Loss(nn.Module):
    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


def test_gradcheck_of_the_meta_loss():
    learner, episode = build("smooth"), draw("smooth", (1, 3, 2))
    names, parameters = zip(*learner.named_parameters(), strict=True)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


@every
def test_it_is_the_linear_classifier_of_its_prototypes(name):
    """Snell et al. sec. 2.4: weights 2 c_k and biases -|c_k|^2 on the embedding give the same probabilities."""
    learner, episode = build(name), draw(name)
    for b in range(B):
        c, z = learner.adapt(episode.support)[b], embed(learner.net, episode.query.x[b])
        linear = z @ (2 * c).T - (c**2).sum(1)
        close(learner(episode).probs[b], linear.softmax(1))


@every
def test_one_shot_it_takes_the_class_of_the_nearest_neighbour(name):
    learner, episode = build(name), draw(name, (1, 1, 1))
    chosen = learner(episode).probs.argmax(-1)
    for b in range(B):
        with torch.no_grad():
            z, queries = embed(learner.net, episode.support.x[b]), embed(learner.net, episode.query.x[b])
        nearest = [min(range(WAY), key=[(z[i] - q).norm().item() for i in range(WAY)].__getitem__) for q in queries]
        assert chosen[b].tolist() == [int(episode.support.y[b, i]) for i in nearest]
    assert len(set(chosen.flatten().tolist())) > 1


def test_every_example_weighs_the_same_within_its_class_only():
    """Repeating all examples of one class changes nothing."""
    learner = ProtoNet(Pixels(), Classification(WAY))
    episode = draw("smooth", (2, 2, 2))
    y = episode.support.y
    again = torch.stack([episode.support.x[b][y[b] == 1] for b in range(B)])
    more = Examples(torch.cat([episode.support.x, again], 1), torch.cat([y, torch.ones_like(y[:, :2])], 1))
    close(learner.adapt(more), learner.adapt(episode.support), tolerance=1e-14)


def missing():
    """Task 1 has no example of class 2."""
    episode = draw("smooth")
    episode.support.y[1] = torch.tensor([0, 1, 0, 1, 0, 1])
    return episode


def test_a_class_without_examples_spoils_no_other_task():
    learner, episode = build("smooth"), missing()
    prototypes = learner.adapt(episode.support)
    assert prototypes[1, 2].isnan().all() and prototypes.isnan().sum() == 3
    close(prototypes[[0, 2]], reference(learner.net, draw("smooth"))[1][[0, 2]])


def test_a_class_without_examples_is_named_before_a_run():
    class Fixed:
        likelihood, x_shape = Classification(WAY), (2,)

        def sample(self, n, generator):
            return missing()

    message = "support.y: no example of class 2 in task 1 given; 3-way tasks need at least one of every class"
    with pytest.raises(ValueError, match=message):
        check_episode(missing(), Classification(WAY))
    with pytest.raises(ValueError, match=message):
        evaluate(build("smooth"), Fixed(), episodes=B, batch=B, device="cpu")


@every
def test_it_is_transductive_with_batch_statistics_only(name):
    assert build(name).transductive == (name != "smooth")
