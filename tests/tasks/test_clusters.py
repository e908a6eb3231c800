"""Cluster tasks: labels, moments, independence."""

import math

import pytest
import torch

from metabook.checks import check_episode
from metabook.tasks.clusters import Clusters
from metabook.tasks.protocol import Tasks


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_labels_and_device(device):
    tasks = Clusters(way=3, shots=2, queries=4, dim=6)
    episode = check_episode(tasks.sample(5, generator(device)), tasks.likelihood, tasks.x_shape)
    assert isinstance(tasks, Tasks) and tasks.likelihood.size == 3
    assert episode.support.x.shape == (5, 6, 6) and episode.query.x.shape == (5, 12, 6)
    assert episode.support.y.tolist() == [[0, 0, 1, 1, 2, 2]] * 5
    assert all(torch.bincount(y, minlength=3).tolist() == [4, 4, 4] for y in episode.query.y)
    assert episode.query.x.device == generator(device).device


def test_moments_and_that_labels_name_the_right_centre(device):
    """Points minus their class's centre have mean 0 and variance noise^2; centres have variance spread^2."""
    tasks, g = Clusters(way=4, shots=3, queries=5, dim=2, spread=2.0, noise=0.5), generator(device)
    centres = tasks.parameters(5000, g)
    assert abs(centres.var().item() / 4 - 1) < 5 * math.sqrt(2 / centres.numel())
    for part in tasks.episode(centres, g):
        own = centres.gather(1, part.y.unsqueeze(-1).expand(-1, -1, 2))
        noise = part.x - own
        assert abs(noise.var().item() / 0.25 - 1) < 5 * math.sqrt(2 / noise.numel())
        assert abs(noise.mean().item()) < 5 * 0.5 / math.sqrt(noise.numel())


def test_support_and_query_share_no_point(device):
    episode = Clusters().sample(20, generator(device))
    x = torch.cat([episode.support.x, episode.query.x], 1).flatten(0, 1)
    assert len(x.unique(dim=0)) == len(x)


def test_same_seed_same_tasks(device):
    a, b, c = (Clusters().sample(3, generator(device, s)) for s in (1, 1, 2))
    assert torch.equal(a.query.x, b.query.x) and not torch.equal(a.query.x, c.query.x)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("way", 1, ValueError),
        ("shots", 0, ValueError),
        ("queries", 0, ValueError),
        ("dim", 0, ValueError),
        ("way", 2.0, TypeError),
        ("spread", 0.0, ValueError),
        ("noise", -1.0, ValueError),
        ("noise", math.inf, ValueError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        Clusters(**{argument: value})
