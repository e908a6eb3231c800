"""Averaging over changed copies of a task: by hand, and the limits in which it changes nothing."""

import math

import pytest
import torch
from torch.distributions import Categorical

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import Conv4, Pixels
from metabook.optimization import MAML
from metabook.tasks.distort import Distort
from metabook.views import Views


class FromPixel(MetaLearner):
    """Two classes; the state is the mean of the support images, the logits are 0 and query times state."""

    def adapt(self, support):
        return support.x.flatten(2).mean((1, 2))

    def predict(self, state, query_x):
        z = query_x.flatten(2).mean(2) * state[:, None]
        return Categorical(logits=torch.stack([torch.zeros_like(z), z], -1))

    def meta_loss(self, batch):
        return self(batch).log_prob(batch.query.y).mean()


def double(x, generator):
    return 2 * x


def one_pixel(s, q):
    x = [torch.tensor([[[[[v]]]]], dtype=torch.float64) for v in (s, q)]
    y = torch.zeros(1, 1, dtype=torch.int64)
    return Episode(Examples(x[0], y), Examples(x[1], y))


def test_by_hand():
    """Support 1, query 1. As it is: logits (0, 1). Doubled both: (0, 4).

    Log-probabilities (-log(1+e), 1-log(1+e)) and (-log(1+e^4), 4-log(1+e^4)); their means differ by 2.5, so that
    p(1) = 1 / (1 + e^-2.5). The mean of the probabilities would be (0.731 + 0.982) / 2 = 0.857 instead of 0.924.
    """
    p = Views(FromPixel(Classification(2)), double, copies=2)(one_pixel(1.0, 1.0)).probs[0, 0, 1]
    assert p.item() == pytest.approx(1 / (1 + math.exp(-2.5)), rel=1e-12)


def draw(b=2, way=3, size=16):
    generator = torch.Generator().manual_seed(0)
    x = [torch.rand(b, n, 1, size, size, generator=generator, dtype=torch.float64) for n in (way, 5)]
    return Episode(
        Examples(x[0], torch.arange(way).repeat(b, 1)),
        Examples(x[1], torch.randint(0, way, (b, 5), generator=generator)),
    )


def conv(way=3, **options):
    torch.manual_seed(0)
    return ProtoNet(Conv4(1, width=4, size=16, **options).double(), Classification(way))


def test_one_copy_is_the_learner_itself(device):
    learner, episode = conv().to(device), draw().to(device)
    torch.testing.assert_close(Views(learner, Distort(), copies=1)(episode).probs, learner(episode).probs)


def test_copies_that_change_nothing_change_nothing(device):
    learner, episode = conv(norm="group").to(device), draw().to(device)
    same = Views(learner, lambda x, generator: x, copies=3)(episode).probs
    torch.testing.assert_close(same, learner(episode).probs)


def test_the_draws_are_its_own_and_fixed():
    """The same answer twice, whatever the global generator; another one for another seed."""
    learner, episode = conv(), draw()
    views = Views(learner, Distort(), copies=3)
    once = views(episode).probs
    torch.rand(3)
    assert torch.equal(views(episode).probs, once)
    assert not torch.allclose(Views(learner, Distort(), copies=3, seed=7)(episode).probs, once)


def test_support_and_queries_are_changed_by_different_draws():
    seen = []

    def change(x, generator):
        seen.append(torch.rand(1, generator=generator).item())
        return x

    Views(conv(), change, copies=3)(draw())
    assert len(seen) == len(set(seen)) == 4


def test_it_wraps_learners_that_adapt_by_gradients():
    torch.manual_seed(0)
    maml = MAML(Conv4(1, 3, width=4, size=16).double(), Classification(3))
    with torch.no_grad():
        probs = Views(maml, Distort(), copies=2)(draw()).probs
    assert probs.shape == (2, 5, 3)
    torch.testing.assert_close(probs.sum(-1), torch.ones(2, 5, dtype=torch.float64))


def test_the_meta_loss_and_the_flags_are_the_learners():
    learner, episode = conv(), draw()
    views = Views(learner, Distort())
    assert torch.equal(views.meta_loss(episode), learner.meta_loss(episode))
    assert views.transductive == learner.transductive
    assert not Views(conv(norm="group"), Distort()).transductive


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Views(MAML(Pixels(), Regression()), Distort()), r"learner: Regression\(1\) given; views are averaged"),
        (lambda: Views(conv(), Distort(), copies=0), "copies: 0 given"),
        (lambda: Views(conv(), Distort(), seed=-1), "seed: -1 given"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
