"""Permuted pixels: by hand, the same for every image, and a share of the tasks."""

import math

import pytest
import torch

from metabook.registry import make_tasks
from metabook.tasks import FewShot, FunctionMixture, Permuted, Tasks


def tasks(**options):
    """Thirty classes of two images of 2 channels, 2 x 3 pixels, every pixel of its own value."""
    x = torch.arange(60 * 12, dtype=torch.float32).view(60, 2, 2, 3)
    return Permuted(FewShot(x, torch.arange(30).repeat_interleave(2), way=3, shots=1, queries=1), **options)


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_all_images_of_a_task_are_moved_alike_or_not_at_all(device):
    """Undone, a channel of a moved image has its six values in order, and the second channel follows the first; images
    of the other tasks are so as they are."""
    mixture = tasks()
    assert isinstance(mixture, Tasks) and mixture.x_shape == (2, 2, 3)
    (episode, scrambled) = mixture.draw(40, generator(device))
    assert 0 < scrambled.sum() < 40
    back = mixture.order.argsort().to(device)
    for part in episode:
        pixels = part.x.flatten(3)
        undone = torch.where(scrambled.view(-1, 1, 1, 1), pixels[..., back], pixels)
        assert ((undone[..., 1:] - undone[..., :-1]) == 1).all()
        assert (undone[:, :, 1] - undone[:, :, 0] == 6).all()


def test_the_share_is_kept_and_the_permutation_is_of_its_seed(device):
    """Of 4000 tasks to five standard errors; 0 and 1 leave no choice."""
    n = 4000
    moved = tasks(part=0.3).draw(n, generator(device)).scrambled.float().mean().item()
    assert abs(moved - 0.3) < 5 * math.sqrt(0.3 * 0.7 / n)
    assert not tasks(part=0.0).draw(50, generator(device)).scrambled.any()
    assert tasks(part=1.0).draw(50, generator(device)).scrambled.all()
    assert torch.equal(tasks(seed=2).order, tasks(seed=2).order) and not torch.equal(tasks(seed=2).order, tasks().order)


def test_every_part_has_the_same_permutation_and_letters_of_its_own():
    parts = [make_tasks("permuted-glyphs", part=p) for p in ("train", "test")]
    assert torch.equal(parts[0].order, parts[1].order) and parts[0].tasks.classes != parts[1].tasks.classes
    assert make_tasks("permuted-glyphs", part="test", permuted=1.0).draw(9, generator("cpu")).scrambled.all()
    episode = parts[0].sample(2, generator("cpu"))
    assert torch.equal(episode.query.x, parts[0].sample(2, generator("cpu")).query.x)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"part: 1\.5 given; 0 to 1 is allowed"):
        tasks(part=1.5)
    with pytest.raises(ValueError, match=r"tasks: inputs of shape \[1\] given; images \[C, H, W\] are needed"):
        Permuted(FunctionMixture())
