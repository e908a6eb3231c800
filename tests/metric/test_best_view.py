"""The best pair of views against loops over all pairs, and the limits in which it changes nothing."""

import pytest
import torch

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification
from metabook.metric import BestView, MatchingNet, ProtoNet
from metabook.nn import Conv4, Pixels
from metabook.tasks.distort import Distort
from metabook.views import views_of


def draw(b=2, way=3, size=16):
    generator = torch.Generator().manual_seed(0)
    x = [torch.rand(b, n, 1, size, size, generator=generator, dtype=torch.float64) for n in (way, 5)]
    return Episode(
        Examples(x[0], torch.arange(way).repeat(b, 1)),
        Examples(x[1], torch.randint(0, way, (b, 5), generator=generator)),
    )


def conv(**options):
    torch.manual_seed(0)
    return ProtoNet(Conv4(1, width=4, size=16, norm="group").double(), Classification(3), **options)


@pytest.mark.parametrize("options", [{}, {"distance": "cosine", "scale": 10.0}])
def test_it_is_the_largest_logit_of_all_pairs(options, device):
    learner, episode = conv(**options).to(device), draw().to(device)
    found = BestView(learner, Distort(), copies=3)(episode).logits
    supports = list(views_of(episode.support.x, Distort(), 3, 0))
    queries = list(views_of(episode.query.x, Distort(), 3, 1))
    logits = [
        learner.compare(learner.net(q), learner.adapt(Examples(s, episode.support.y)))
        for s in supports
        for q in queries
    ]
    largest = logits[0].clone()
    for each in logits[1:]:
        for place in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(3)).tolist():
            largest[tuple(place)] = max(largest[tuple(place)], each[tuple(place)])
    torch.testing.assert_close(found, largest.log_softmax(-1))


def test_one_copy_is_the_learner_itself(device):
    learner, episode = conv().to(device), draw().to(device)
    torch.testing.assert_close(BestView(learner, Distort(), copies=1)(episode).probs, learner(episode).probs)


def test_copies_that_change_nothing_change_nothing():
    learner, episode = conv(), draw()
    same = BestView(learner, lambda x, generator: x, copies=3)(episode).probs
    torch.testing.assert_close(same, learner(episode).probs)


def test_a_change_that_undoes_the_difference_is_found():
    """One pixel, two classes, 1 and 3. The change takes 1.9 from a query of 2.9, which then is class 0 exactly; as it
    is, class 1 is nearer. A query of 2.95 is not changed, and nearest to class 1."""
    x = [torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1, 1) for v in ([1.0, 3.0], [2.9, 2.95])]
    y = torch.tensor([[0, 1]])
    episode = Episode(Examples(x[0], y), Examples(x[1], y))
    learner = ProtoNet(Pixels(), Classification(2))

    def change(x, generator):
        return x - 1.9 * (x > 2) * (x < 2.92)

    assert learner(episode).probs.argmax(-1).tolist() == [[1, 1]]
    assert BestView(learner, change, copies=2)(episode).probs.argmax(-1).tolist() == [[0, 1]]


def test_the_draws_are_its_own_and_fixed():
    learner, episode = conv(), draw()
    once = BestView(learner, Distort(), copies=3)(episode).probs
    torch.rand(3)
    assert torch.equal(BestView(learner, Distort(), copies=3)(episode).probs, once)
    assert not torch.allclose(BestView(learner, Distort(), copies=3, seed=7)(episode).probs, once)


def test_the_meta_loss_is_the_learners():
    learner, episode = conv(), draw()
    assert torch.equal(BestView(learner, Distort()).meta_loss(episode), learner.meta_loss(episode))


def test_bad_arguments():
    with pytest.raises(TypeError, match="learner: MatchingNet given; the best view is that of a prototypical network"):
        BestView(MatchingNet(Pixels(), Classification(2)), Distort())
    with pytest.raises(ValueError, match="copies: 0 given"):
        BestView(conv(), Distort(), copies=0)
