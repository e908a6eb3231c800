"""Functions of several inputs: by hand, how sizes and directions are drawn, and inputs that are not in use."""

import math

import pytest
import torch

from metabook.checks import check_episode
from metabook.registry import make_tasks
from metabook.tasks import Clusters, FunctionMixture, Lifted, Tasks


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_device(device):
    tasks = Lifted(FunctionMixture(shots=3, queries=7), inputs=4)
    episode = check_episode(tasks.sample(6, generator(device)), tasks.likelihood, tasks.x_shape)
    assert isinstance(tasks, Tasks) and tasks.x_shape == (4,)
    assert [tuple(t.shape) for part in episode for t in part] == [(6, 3, 4), (6, 3, 1), (6, 7, 4), (6, 7, 1)]
    assert episode.query.x.device == generator(device).device


def test_along_the_direction_it_is_the_function_and_across_it_is_noise(device):
    """u . x are the inputs that the same generator draws for the functions alone, with their targets. Across u the
    variance is spread^2 for each of d - 1 dimensions, to five standard errors."""
    base = FunctionMixture(shots=400, queries=5)
    ridges = Lifted(base, inputs=3, spread=1.5).draw(30, generator(device))
    plain = base.sample(30, generator(device))
    u = ridges.direction
    assert (u.square().sum(1) - 1).abs().max() < 1e-6
    for part, alone in zip(ridges.episode, plain, strict=True):
        torch.testing.assert_close(part.x @ u.unsqueeze(2), alone.x, rtol=0, atol=1e-5)
        assert torch.equal(part.y, alone.y)
    x = ridges.episode.support.x
    across = x - (x @ u.unsqueeze(2)) * u.unsqueeze(1)
    for d in (1, 2, 3):
        mine = across[ridges.size == d].square().sum(2).flatten()
        wanted, error = 1.5**2 * (d - 1), 1.5**2 * math.sqrt(2 * (d - 1) / len(mine))
        assert abs(mine.mean().item() - wanted) <= 5 * error + 1e-9


def test_sizes_are_equally_likely_and_inputs_not_in_use_are_zero(device):
    n = 3000
    ridges = Lifted(FunctionMixture(shots=2, queries=2), inputs=3).draw(n, generator(device))
    counts = torch.bincount(ridges.size, minlength=4)[1:]
    assert (counts - n / 3).abs().max() < 5 * math.sqrt(n * 2 / 9)
    for part in ridges.episode:
        in_use = (part.x != 0).any(1)
        assert torch.equal(in_use, torch.arange(3, device=ridges.size.device) < ridges.size.unsqueeze(1))
    # uniform directions: every coordinate of d has mean 0 and mean square 1 / d
    for d in (1, 2, 3):
        u = ridges.direction[ridges.size == d][:, :d]
        assert u.mean(0).abs().max() < 5 / math.sqrt(d * len(u))
        assert (u.square().mean(0) - 1 / d).abs().max() < 5 * 0.36 / math.sqrt(len(u))


def test_one_size_for_all(device):
    assert Lifted(FunctionMixture(), used=2).draw(50, generator(device)).size.tolist() == [2] * 50
    tasks = make_tasks("lifted-mixture", part="test", only="sine", used=1, shots=4)
    x = tasks.sample(3, generator("cpu")).support.x
    assert x.shape == (3, 4, 3) and (x[..., 1:] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lifted(Clusters(dim=2)), r"tasks: inputs of shape \[2\] given; \[1\] is needed"),
        (lambda: Lifted(FunctionMixture(), inputs=0), "inputs: 0 given"),
        (lambda: Lifted(FunctionMixture(), inputs=2, used=3), "used: 3 given; 1 to 2 are allowed"),
        (lambda: Lifted(FunctionMixture(), spread=-1.0), "spread: -1.0 given"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
