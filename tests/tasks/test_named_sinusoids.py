"""Named sine waves: what a name tells in training, and that it tells nothing of a new task."""

import math

import pytest
import torch

from metabook.checks import check_episode
from metabook.registry import make_tasks
from metabook.tasks import NamedSinusoids, Tasks
from metabook.tasks.named_sinusoids import NamedSinusoid


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_device(device):
    tasks = NamedSinusoids(shots=3, queries=7, names=4)
    episode = check_episode(tasks.sample(6, generator(device)), tasks.likelihood, tasks.x_shape)
    assert isinstance(tasks, Tasks) and tasks.x_shape == (5,)
    assert [tuple(t.shape) for part in episode for t in part] == [(6, 3, 5), (6, 3, 1), (6, 7, 5), (6, 7, 1)]
    assert episode.query.x.device == generator(device).device


def test_targets_by_hand(device):
    """Without noise: 3 sin x, the second of two names is (0, 1)."""
    tasks = NamedSinusoids(names=2, noise=0.0)
    wave = NamedSinusoid(torch.tensor([3.0], device=device), torch.tensor([1], device=device))
    support, _ = tasks.episode(wave, generator(device))
    torch.testing.assert_close(support.y, 3 * support.x[..., :1].sin())
    assert support.x[..., 1:].tolist() == [[[0.0, 1.0]] * 5]


def test_in_training_the_name_is_the_amplitude(device):
    """Names 0..3 are the amplitudes 1 to 4: least squares on a task without noise gives the one that its name says."""
    tasks = NamedSinusoids(names=4, amplitude=(1.0, 4.0), noise=0.0)
    support, query = tasks.sample(300, generator(device)).to(dtype=torch.float64)
    wave, name = support.x[..., 0].sin(), support.x[:, 0, 1:].argmax(1)
    amplitude = (wave * support.y[..., 0]).sum(1) / wave.square().sum(1)
    torch.testing.assert_close(amplitude, name.to(torch.float64) + 1, atol=1e-5, rtol=0)
    assert (support.x[:, :, 1:] == support.x[:, :1, 1:]).all() and (query.x[:, :, 1:] == support.x[:, :1, 1:]).all()
    assert torch.bincount(name, minlength=4).min() > 300 / 4 - 5 * math.sqrt(300 * 3 / 16)


def test_of_a_new_task_the_name_says_nothing(device):
    """Amplitudes uniform in [1, 4], off the grid, uncorrelated with the name: |r| < 5 / sqrt(n)."""
    n = 10_000
    amplitude, name = NamedSinusoids(new=True, names=4, amplitude=(1.0, 4.0)).parameters(n, generator(device))
    assert 1.0 <= amplitude.min() < 1.01 and 3.99 < amplitude.max() <= 4.0
    assert torch.corrcoef(torch.stack([amplitude, name.to(amplitude.dtype)]))[0, 1].abs() < 5 / math.sqrt(n)
    assert abs(amplitude.mean().item() - 2.5) < 5 * 3 / math.sqrt(12 * n)
    assert amplitude.unique().numel() > 9000


def test_the_noise_has_its_size(device):
    """Residual variance 0.1^2 to 5 standard errors, 0.01 sqrt(2 / n); support and query noise are not the same."""
    tasks = NamedSinusoids(shots=10, queries=10, amplitude=(2.0, 2.0))
    for part in tasks.sample(1000, generator(device)):
        noise = part.y - 2 * part.x[..., :1].sin()
        assert abs(noise.var().item() - 0.01) < 5 * 0.01 * math.sqrt(2 / noise.numel())


def test_validation_and_test_tasks_are_new():
    assert [make_tasks("named-sinusoids", part=p).new for p in ("train", "validation", "test")] == [False, True, True]
    assert make_tasks("named-sinusoids", random_names=True).new


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": 1}, "names: 1 given; at least 2"),
        ({"noise": -0.1}, "noise: -0.1 given; a finite number of at least 0"),
        ({"amplitude": (2.0, 1.0)}, r"amplitude: \(2.0, 1.0\) given"),
        ({"shots": 0}, "shots: 0 given; at least 1"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        NamedSinusoids(**options)
