"""The problems of training a small network: what is scaled, shuffled and shared."""

import pytest
import torch
import torch.nn.functional as F

from metabook.tasks.characters import glyph_tasks
from metabook.tasks.network_training import NetworkTraining
from metabook.tasks.protocol import Tasks


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_that_the_query_is_the_problem_itself(device):
    tasks = NetworkTraining("train", way=3, shots=4)
    support, query = tasks.sample(2, generator(device))
    assert isinstance(tasks, Tasks) and tasks.x_shape == (196,) and tasks.likelihood.size == 3
    assert support.x.shape == (2, 12, 196) and torch.equal(support.x, query.x) and torch.equal(support.y, query.y)
    assert support.y[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_the_images_are_the_letters_pixel_by_pixel_up_to_scale_order_and_sign(device):
    """The first draws of the generator are those of the letters, so the same seed gives the same letters. Column by
    column, sorted by size, the absolute values of both must agree."""
    x = NetworkTraining("test", way=3, shots=4).sample(2, generator(device)).support.x
    images = glyph_tasks("test", way=3, shots=4, queries=1).sample(2, generator(device)).support.x
    small = F.avg_pool2d(images.flatten(0, 1), 2).view(2, 12, 196)
    scaled = (small - small.mean(1, keepdim=True)) / small.std(1, keepdim=True).clamp_min(0.05)
    for ours, theirs in zip(x.abs(), scaled.abs(), strict=True):
        a, b = (v.T[v.T.sum(1).argsort()] for v in (ours, theirs))
        torch.testing.assert_close(a.sum(1), b.sum(1), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(x, scaled)
    first, second = (v.abs().sum(0) for v in x)
    assert not torch.allclose(first, second)


def test_varying_pixels_have_mean_zero_and_variance_one(device):
    x = NetworkTraining("train", way=5, shots=10).sample(3, generator(device)).support.x
    assert x.mean(1).abs().max() < 1e-5
    spread = x.std(1)
    assert (spread < 1 + 1e-5).all() and ((spread - 1).abs() < 1e-5).float().mean() > 0.5


def test_parts_have_letters_of_their_own_and_bad_arguments_are_named():
    a, b = (NetworkTraining(part, way=3, shots=2).letters for part in ("train", "test"))
    assert a.classes != b.classes
    with pytest.raises(ValueError, match="part: 'exam' given"):
        NetworkTraining("exam")
    with pytest.raises(ValueError, match="shots: 0 given"):
        NetworkTraining(shots=0)
