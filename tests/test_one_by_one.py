"""One query at a time: what changes, what does not, and the batch statistics written out."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Independent, Laplace, Normal
from torch.utils._pytree import tree_leaves

from metabook.baselines import BayesClusters, Joint
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import MLP, Conv4
from metabook.one_by_one import OneByOne
from metabook.optimization import MAML, Reptile

B, S, Q, WAY = 2, 6, 4, 3
CLASSES = Classification(WAY)


def head(norm, outputs=WAY):
    return Conv4(1, outputs, width=8, size=16, norm=norm)


LEARNERS = {
    "MAML": lambda norm: MAML(head(norm), CLASSES, inner_lr=0.1, inner_steps=2),
    "Reptile": lambda norm: Reptile(head(norm), CLASSES, inner_lr=0.01, test_steps=3),
    "ProtoNet": lambda norm: ProtoNet(head(norm, None), CLASSES),
    "Joint": lambda norm: Joint(head(norm), CLASSES),
    "regression": lambda norm: MAML(head(norm, 2), Regression(2), inner_lr=0.01),
}
every = pytest.mark.parametrize("name", LEARNERS)


def build(name, norm):
    torch.manual_seed(0)
    learner = LEARNERS[name](norm).double()
    with torch.no_grad():
        for p in learner.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return learner


def draw(name, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(B, n, 1, 16, 16, generator=generator, dtype=torch.float64)
        if name == "regression":
            return Examples(x, torch.randn(B, n, 2, generator=generator, dtype=torch.float64))
        return Examples(x, torch.arange(n).expand(B, -1) % WAY)

    return Episode(part(S), part(Q))


def outputs(distribution):
    return (distribution.logits if hasattr(distribution, "logits") else distribution.mean).detach()


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@every
@pytest.mark.parametrize("norm", ["group", "none"])
def test_without_batch_statistics_nothing_changes(name, norm):
    learner, episode = build(name, norm), draw(name)
    alone, together = OneByOne(learner)(episode), learner(episode)
    assert alone.batch_shape == together.batch_shape == (B, Q)
    close(outputs(alone), outputs(together))
    close(alone.log_prob(episode.query.y), together.log_prob(episode.query.y))


@every
def test_with_batch_statistics_the_other_queries_no_longer_matter(name):
    learner, episode = build(name, "batch"), draw(name)
    x = torch.cat([episode.query.x[:, :1], draw(name, seed=1).query.x[:, 1:]], 1)
    others = Episode(episode.support, Examples(x, episode.query.y))
    alone = OneByOne(learner)
    assert torch.equal(outputs(alone(others))[:, 0], outputs(alone(episode))[:, 0])
    assert (outputs(learner(others))[:, 0] - outputs(learner(episode))[:, 0]).abs().max() > 1e-4
    assert learner.transductive and not alone.transductive


@every
def test_a_single_query_among_no_others_is_still_seen_beside_the_support_set(name):
    """With Q = 1 the wrapped learner would normalise the query by itself; the two must differ."""
    learner, (support, query) = build(name, "batch"), draw(name)
    single = Episode(support, Examples(query.x[:, :1], query.y[:, :1]))
    assert (outputs(OneByOne(learner)(single)) - outputs(learner(single))).abs().max() > 1e-4
    close(outputs(OneByOne(learner)(single)), outputs(OneByOne(learner)(draw(name)))[:, :1])


@pytest.mark.parametrize("name", ["MAML", "Reptile"])
def test_the_statistics_are_those_of_the_support_set_and_the_one_query(name):
    """The forward pass by loops: S + 1 images through each block, the last row of the result."""
    learner, (support, query) = build(name, "batch"), draw(name)
    phi = learner.adapt(support)
    expected = torch.empty(B, Q, WAY, dtype=torch.float64)
    for b in range(B):
        weights = [v[b].detach() for v in phi.values()]
        for q in range(Q):
            x = torch.cat([support.x[b], query.x[b, q : q + 1]])
            for i in range(0, 16, 4):
                kernel, bias, scale, shift = weights[i : i + 4]
                x = F.conv2d(x, kernel, bias, padding=1)
                mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
                x = scale[:, None, None] * (x - mean) / (var + 1e-5).sqrt() + shift[:, None, None]
                x = F.max_pool2d(F.relu(x), 2)
            expected[b, q] = (x.flatten(1) @ weights[-2].T + weights[-1])[-1]
    close(outputs(OneByOne(learner)(Episode(support, query))), expected.log_softmax(-1))


@every
def test_training_is_that_of_the_wrapped_learner(name):
    learner, episode = build(name, "batch"), draw(name)
    alone, parameters = OneByOne(learner), list(learner.parameters())
    ours, theirs = alone.meta_loss(episode), learner.meta_loss(episode)
    assert torch.equal(ours, theirs)
    for a, b in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters), strict=True):
        assert torch.equal(a, b)


def test_the_state_is_a_value_with_the_tasks_leading():
    alone, episode = OneByOne(build("MAML", "batch")), draw("MAML")
    state = alone.adapt(episode.support)
    assert all(leaf.shape[0] == B for leaf in tree_leaves(state))
    part = type(state)({k: v[1:] for k, v in state.state.items()}, state.support_x[1:])
    close(outputs(alone.predict(part, episode.query.x[1:])), outputs(alone(episode))[1:])


def test_what_the_wrapped_learner_says_of_itself_is_handed_on():
    mini = Reptile(MLP(2, 3), CLASSES, test_batch=2)
    assert OneByOne(mini).ordered and OneByOne(mini).first_order
    assert not OneByOne(MAML(MLP(2, 3), CLASSES)).ordered and not OneByOne(MAML(MLP(2, 3), CLASSES)).first_order


def test_a_learner_without_a_network_stays_the_optimum():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(B, 10, 2, generator=generator)
    support = Examples(x[:, :5], torch.arange(5).expand(B, -1))
    episode = Episode(support, Examples(x[:, 5:], support.y))
    close(OneByOne(BayesClusters())(episode).logits, BayesClusters()(episode).logits, tolerance=1e-6)


class Latent(MetaLearner):
    """Three latent samples: each adds its number to the input; of the given kind of distribution."""

    def __init__(self, kind):
        super().__init__(Regression())
        self.kind = kind

    def adapt(self, support):
        return support.y.mean(1)

    def predict(self, state, query_x):
        samples = torch.arange(3.0).view(3, 1, 1, 1)
        mean = query_x + samples + state.unsqueeze(1)
        return Independent(self.kind(mean, 1 + mean.square()), 1)

    def meta_loss(self, batch):
        return self(batch).mean.mean()


def test_latent_samples_keep_their_place_in_front():
    episode = Episode(*(Examples(torch.randn(B, n, 1), torch.randn(B, n, 1)) for n in (S, Q)))
    alone, together = OneByOne(Latent(Normal))(episode), Latent(Normal)(episode)
    assert alone.batch_shape == (3, B, Q) and alone.event_shape == (1,)
    assert torch.equal(alone.mean, together.mean) and torch.equal(alone.variance, together.variance)


def test_other_distributions_are_refused_by_name():
    episode = Episode(*(Examples(torch.randn(B, n, 1), torch.randn(B, n, 1)) for n in (S, Q)))
    with pytest.raises(TypeError, match="learner: predictions of type Laplace given; Categorical and Normal"):
        OneByOne(Latent(Laplace))(episode)
