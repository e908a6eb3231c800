"""Tasks over several vectors a drawing: a drawing is support or query, never both, under any copy."""

import pytest
import torch

from metabook.checks import check_episode
from metabook.tasks import Embedded

CLASSES, EACH, COPIES = 7, 6, 3


def tasks(**options):
    """Each vector says (class, drawing, copy)."""
    drawing = torch.arange(CLASSES * EACH)
    x = torch.stack(torch.broadcast_tensors((drawing // EACH)[:, None], drawing[:, None], torch.arange(COPIES)), -1)
    return Embedded(x.float(), drawing // EACH, **{"way": 4, "shots": 2, "queries": 5, **options})


def test_what_is_drawn():
    family = tasks()
    episode = family.sample(200, torch.Generator().manual_seed(0))
    check_episode(episode, family.likelihood, family.x_shape)
    seen = set()
    for b in range(200):
        support, query = (part.x[b].long() for part in episode)
        assert not set(support[:, 1].tolist()) & set(query[:, 1].tolist())
        for part, y in ((support, episode.support.y[b]), (query, episode.query.y[b])):
            seen |= set(map(tuple, part.tolist()))
            assert all(len(set(part[y == label, 0].tolist())) == 1 for label in range(4))
        assert len(set(support[:, 0].tolist())) == 4
    assert len(seen) == CLASSES * EACH * COPIES


def test_every_copy_is_as_likely():
    x = tasks().sample(2000, torch.Generator().manual_seed(0)).query.x
    share = torch.bincount(x[..., 2].long().flatten()) / x[..., 2].numel()
    assert (share - 1 / COPIES).abs().max() < 0.01  # the standard deviation is 0.0024


def test_the_generator_fixes_the_tasks():
    a, b, c = (tasks().sample(3, torch.Generator().manual_seed(seed)).query.x for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 2), r"x: torch.float32 of shape \[4, 2\] given; vectors of drawings are needed"),
        (torch.zeros(4, 2, 3, dtype=torch.int64), "x: torch.int64 of shape"),
        ([[1.0]], "x: list given"),
        (torch.full((4, 2, 3), torch.nan), "x: NaN"),
    ],
)
def test_bad_vectors_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        Embedded(x, torch.tensor([0, 0, 1, 1]), way=2)
