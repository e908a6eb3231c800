"""The three comparisons of prototypical networks: a slow reference place by place, and the limits."""

import math

import pytest
import torch
import torch.nn.functional as F

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import FeatureMaps, Pixels
from metabook.nn.distances import DISTANCES, cosine, euclidean, local
from metabook.registry import build
from metabook.tasks import Clusters


def maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_local(z, c):
    """One pair and one place at a time, in Python's own arithmetic."""

    def unit(m):
        length = math.sqrt(sum(v * v for channel in m for row in channel for v in row))
        return [[[v / length for v in row] for row in channel] for channel in m]

    def one_way(a, b):
        channels, height, width = len(a), len(a[0]), len(a[0][0])
        total = 0.0
        for i in range(height):
            for j in range(width):
                found = []
                for u in (i - 1, i, i + 1):
                    for v in (j - 1, j, j + 1):
                        inside = 0 <= u < height and 0 <= v < width
                        found.append(sum(a[k][i][j] * b[k][u][v] for k in range(channels)) if inside else 0.0)
                total += max(found)
        return total

    z, c = ([[unit(m) for m in task] for task in x.tolist()] for x in (z, c))
    return torch.tensor(
        [[[(one_way(a, b) + one_way(b, a)) / 2 for b in cs] for a in zs] for zs, cs in zip(z, c, strict=True)],
        dtype=torch.float64,
    )


def test_local_is_the_slow_reference():
    z, c = maps(2, 3, 2, 3, 4), maps(2, 2, 2, 3, 4, seed=1)
    torch.testing.assert_close(local(z, c), slow_local(z, c), rtol=1e-12, atol=1e-12)


def test_local_is_at_least_the_cosine_and_the_cosine_for_one_place():
    """No place away and the place itself are among the nine. One place alone has only a border of zeros around it."""
    z, c = maps(2, 3, 4, 5, 5), maps(2, 4, 4, 5, 5, seed=1)
    assert bool((local(z, c) >= cosine(z, c) - 1e-12).all())
    z, c = maps(1, 3, 4, 1, 1).abs(), maps(1, 4, 4, 1, 1, seed=1).abs()
    torch.testing.assert_close(local(z, c), cosine(z, c))


def test_a_map_moved_by_one_place_is_as_good_as_the_same():
    """Two strokes one place to the right. Two places to the right, no place finds its like."""
    a = torch.zeros(1, 1, 1, 5, 5, dtype=torch.float64)
    a[..., 1:4, 1] = 1
    moved = torch.stack([a[0, 0].roll(by, -1) for by in (0, 1, 2)]).unsqueeze(0)
    torch.testing.assert_close(local(a, moved)[0, 0], torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(cosine(a, moved)[0, 0], torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


def test_gradients_of_the_local_comparison():
    z, c = maps(1, 2, 2, 3, 3).requires_grad_(), maps(1, 2, 2, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(local, (z, c))


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_exchanging_the_two_exchanges_rows_and_columns(name):
    z, c = maps(2, 3, 2, 3, 3), maps(2, 4, 2, 3, 3, seed=1)
    back = DISTANCES[name](c, z).mT
    if name == "euclidean":  # which leaves out |z|^2
        back = back + c.flatten(2).square().sum(-1).unsqueeze(1) * 0
        torch.testing.assert_close(DISTANCES[name](z, c), -torch.cdist(z.flatten(2), c.flatten(2)).square())
    torch.testing.assert_close(DISTANCES[name](z, c), back)


def test_vectors_cannot_be_compared_place_by_place():
    with pytest.raises(ValueError, match=r"distance: local given for features \[5\]; it compares maps"):
        local(maps(1, 2, 5), maps(1, 3, 5))
    with pytest.raises(ValueError, match=r"distance: local given for inputs \[2\]; it compares maps of images"):
        build("prototypical", Clusters(), distance="local")


def episode(way=3, queries=2, b=2, size=16):
    y = torch.arange(way).repeat(b, 1)
    return Episode(
        Examples(maps(b, way, 1, size, size), y),
        Examples(maps(b, way * queries, 1, size, size, seed=1), y.repeat(1, queries)),
    )


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_swapped_training_is_the_mean_of_both_directions(distance):
    torch.manual_seed(0)
    net = FeatureMaps(1, width=4, size=16, norm="group").double()
    plain, both = (ProtoNet(net, Classification(3), distance=distance, swap=swap) for swap in (False, True))
    support, query = episode(queries=1)
    there = Episode(
        Examples(support.x, torch.tensor([[0, 1, 2], [2, 0, 1]])),
        Examples(query.x, torch.tensor([[1, 2, 0], [0, 2, 1]])),
    )
    back = Episode(there.query, there.support)
    expected = (plain.meta_loss(there) + plain.meta_loss(back)) / 2
    torch.testing.assert_close(both.meta_loss(there), expected)
    assert not torch.isclose(both.meta_loss(there), plain.meta_loss(there))
    torch.testing.assert_close(both(there).probs, plain(there).probs)


def test_tasks_that_cannot_be_swapped():
    learner = ProtoNet(Pixels(), Classification(3), swap=True).double()
    with pytest.raises(ValueError, match="swap: a task has 3 examples and 6 queries of 3 classes; one of each"):
        learner.meta_loss(episode(queries=2))


def test_prototypes_of_maps_keep_their_shape():
    """The local comparison with pixels as features, against the reference on class means."""
    task = episode(queries=1, b=1, size=4)
    x = torch.cat([task.support.x, task.query.x], 1)
    both = Episode(Examples(x, torch.cat([task.support.y, task.query.y], 1)), task.query)

    class Itself(Pixels):
        def forward(self, x):
            return x

    learner = ProtoNet(Itself(), Classification(3), distance="local")
    means = (task.support.x + task.query.x) / 2
    assert learner.adapt(both.support).shape == (1, 3, 1, 4, 4)
    expected = F.softmax(slow_local(task.query.x, means), -1)
    torch.testing.assert_close(learner(both).probs, expected)


def test_euclidean_by_hand():
    """z = 1 and c = 3: -(1 - 3)^2 = -4."""
    z, c = torch.tensor([[[1.0]]]), torch.tensor([[[3.0]]])
    assert euclidean(z, c).item() == -4
