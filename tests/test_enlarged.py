"""The nearest of the support images and their copies, against loops and its limits."""

import pytest
import torch

from metabook.enlarged import Enlarged, nearest_logits
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import Pixels


def draw(shots=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(3).repeat_interleave(shots).repeat(2, 1)
    x, q = (torch.rand(2, n, 1, 4, 4, generator=generator, dtype=torch.float64) for n in (3 * shots, 5))
    return Episode(Examples(x, y), Examples(q, torch.randint(0, 3, (2, 5), generator=generator)))


def test_by_hand():
    """On a line: class 0 at 0 and 10, class 1 at 4, class 2 without an example. The query 7 is 3 from both."""
    examples = Examples(torch.tensor([[[0.0], [4.0], [10.0]]]), torch.tensor([[0, 1, 0]]))
    logits = nearest_logits(examples, torch.tensor([[[7.0], [3.0]]]), 3)
    assert logits.tolist() == [[[-9.0, -9.0, -float("inf")], [-9.0, -1.0, -float("inf")]]]


def add(x, generator):
    return x + torch.rand(len(x), 1, 1, 1, generator=generator, dtype=x.dtype)


def test_copies_are_drawn_for_each_image_and_the_nearest_counts():
    episode = draw(shots=2)
    learner = Enlarged(add, Classification(3), copies=4, seed=1)
    state = learner.adapt(episode.support)
    generator = torch.Generator().manual_seed(1)
    images = episode.support.x.flatten(0, 1)
    copies = [images, *(add(images, generator) for _ in range(4))]
    for b in range(2):
        for j in range(5):
            best = [float("inf")] * 3
            for copy in copies:
                for i in range(6):
                    k = int(episode.support.y[b, i])
                    best[k] = min(best[k], float((copy[b * 6 + i] - episode.query.x[b, j]).square().sum()))
            logits = nearest_logits(state, episode.query.x, 3)[b, j]
            torch.testing.assert_close(logits, -torch.tensor(best, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert state.x.shape == (2, 30, 1, 4, 4) and state.y.shape == (2, 30)


def test_without_copies_one_shot_it_is_the_prototypical_network_of_raw_pixels():
    episode = draw()
    ours, theirs = Enlarged(add, Classification(3), copies=0), ProtoNet(Pixels(), Classification(3))
    torch.testing.assert_close(ours(episode).probs, theirs(episode).probs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.meta_loss(episode), theirs.meta_loss(episode))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="likelihood: Regression"):
        Enlarged(add, Regression(1))
    with pytest.raises(ValueError, match="copies: -1 given"):
        Enlarged(add, Classification(2), copies=-1)
