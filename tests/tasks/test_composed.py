"""Characters made of two: every arrangement by hand, and the promises of the tasks."""

import pytest
import torch

from metabook.checks import check_episode
from metabook.registry import make_tasks
from metabook.tasks import Tasks
from metabook.tasks.composed import Composed, compose
from metabook.tasks.distort import Distort
from metabook.tasks.images import FewShot


def generator(device="cpu", seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_by_hand():
    """One part is a picture with columns 1 0 1 0, the other has rows 0 .5 0 .5, on four by four pixels.

    Beside: the left half is the mean of neighbouring columns, 0.5 all over, the right half has rows 0 .5 0 .5; the
    darkest was 1, so all is doubled: 1 on the left, rows 0 1 0 1 on the right.
    Above: the upper half has columns 1 0 1 0, the lower half the means of two rows, 0.25.
    Over: the larger of the two.
    """
    one = torch.tensor([1.0, 0, 1, 0]).expand(4, 4)[None, None]
    two = torch.tensor([0.0, 0.5, 0, 0.5]).view(4, 1).expand(4, 4)[None, None]
    beside, above, over, alone = (compose(one, two, torch.tensor([k]))[0, 0] for k in (0, 1, 2, -1))
    assert beside.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert above.tolist() == [[1, 0, 1, 0], [1, 0, 1, 0], [0.25] * 4, [0.25] * 4]
    assert over.tolist() == [[1, 0, 1, 0], [1, 0.5, 1, 0.5], [1, 0, 1, 0], [1, 0.5, 1, 0.5]]
    assert torch.equal(alone, one[0, 0])


def numbered(way=6, shots=2, queries=3):
    """Eight classes of five equal images of 8 x 8, one inked pixel each, that stay apart when squeezed."""
    x = torch.zeros(8, 1, 8, 8)
    for c in range(8):
        x[c, 0, 2 * (c // 2), 4 * (c % 2)] = 1
    return FewShot(
        x.repeat_interleave(5, 0), torch.arange(8).repeat_interleave(5), way=way, shots=shots, queries=queries
    )


def test_a_class_is_composed_alike_in_support_and_query(device):
    """All images of a class of these tasks are equal, so a class is one picture; other classes are other pictures."""
    tasks = Composed(numbered(), part=0.7)
    assert isinstance(tasks, Tasks) and tasks.likelihood.size == 3
    episode = check_episode(tasks.sample(50, generator(device)), tasks.likelihood, (1, 8, 8))
    assert episode.support.x.shape == (50, 6, 1, 8, 8) and episode.query.x.shape == (50, 9, 1, 8, 8)
    assert episode.support.y[0].tolist() == [0, 0, 1, 1, 2, 2]
    assert episode.query.y[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    x, q = (part.x.view(50, 3, -1, 64) for part in episode)
    torch.testing.assert_close(x.std(2), torch.zeros_like(x.std(2)), atol=1e-7, rtol=0)
    torch.testing.assert_close(x[:, :, 0], q[:, :, 0])
    assert (x[:, 0, 0] - x[:, 1, 0]).abs().amax(1).min() > 1e-3


@pytest.mark.parametrize("part", [0.0, 0.4, 1.0])
def test_the_part_of_composed_classes(part):
    """A class as it is has one inked pixel, a composed one two; with p = 0.4 their share has deviation 0.0063."""
    episode = Composed(numbered(shots=1, queries=1), part=part).sample(2000, generator())
    inked = (episode.support.x > 0).flatten(2).sum(2)
    assert set(inked.unique().tolist()) <= {1, 2}
    assert abs((inked == 2).double().mean().item() - part) < 0.03


def test_distortion_comes_after():
    seen = []

    def distort(x, generator):
        seen.append(x.shape)
        return 1 - x

    plain, changed = (
        Composed(numbered(), part=1.0, distort=d).sample(3, generator()).support.x for d in (None, distort)
    )
    torch.testing.assert_close(changed, 1 - plain)
    assert seen == [(18, 1, 8, 8), (27, 1, 8, 8)]


def test_the_option_of_the_families():
    tasks = make_tasks("glyphs", part="train", way=7, composed=0.5)
    assert isinstance(tasks, Composed) and tasks.way == 7 and tasks.distort is not None
    assert not isinstance(make_tasks("glyphs", part="test", composed=0.5), Composed)
    x = tasks.sample(2, generator()).query.x
    assert x.shape == (2, 7 * 15, 1, 28, 28) and x.min() >= 0 and x.max() <= 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Composed(numbered(way=5)), "tasks: 5 ways of inputs"),
        (lambda: Composed(numbered(), part=1.5), "part: 1.5 given; 0 to 1 is allowed"),
        (lambda: Composed(FewShot(torch.rand(8, 1, 5, 4), torch.arange(8) // 4, way=2, queries=1)), "of even sides"),
        (
            lambda: Composed(
                FewShot(torch.rand(8, 1, 4, 4), torch.arange(8) // 4, way=2, queries=1, distort=Distort())
            ),
            "distorted: True",
        ),
    ],
)
def test_what_does_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()
