"""Images to complete: places and ink by hand, pixels that never repeat, letters that training has not seen."""

import pytest
import torch

from metabook.data import glyphs
from metabook.registry import make_tasks
from metabook.tasks import ImageCompletion
from metabook.tasks.protocol import Tasks


def generator(device="cpu", seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def images(n=3, height=3, width=5, seed=0):
    return torch.randint(256, (n, 1, height, width), generator=generator(seed=seed), dtype=torch.uint8)


def test_places_and_ink_by_hand(device):
    """Two rows and three columns: rows at -1 and 1, columns at -1, 0 and 1. Ink is the byte over 255."""
    one = torch.tensor([[[[0, 51, 102], [153, 204, 255]]]], dtype=torch.uint8)
    tasks = ImageCompletion(one, shots=2, queries=4)
    assert tasks.places().tolist() == [[-1, -1], [-1, 0], [-1, 1], [1, -1], [1, 0], [1, 1]]
    ink = {(-1, -1): 0.0, (-1, 0): 0.2, (-1, 1): 0.4, (1, -1): 0.6, (1, 0): 0.8, (1, 1): 1.0}
    support, query = tasks.sample(1, generator(device)).to("cpu")
    pixels = [pair for part in (support, query) for pair in zip(part.x[0].tolist(), part.y[0, :, 0], strict=True)]
    found = {tuple(map(round, x)): y for x, y in pixels}
    assert found.keys() == ink.keys()
    for place, y in found.items():
        assert y.item() == pytest.approx(ink[place], abs=1e-6)


def test_pixels_of_an_image_and_back(device):
    """Two images of two rows and three columns; the first pixels by hand: (-1, -1) and (-1, 0), row by row."""
    tasks = ImageCompletion(images(height=2, width=3), shots=1, queries=1)
    drawn = torch.rand(2, 1, 2, 3, generator=generator(device), device=device)
    every = tasks.pixels(drawn)
    assert every.x[1, :2].tolist() == [[-1, -1], [-1, 0]]
    assert torch.equal(every.y[1, :, 0], drawn[1, 0].flatten())
    assert torch.equal(tasks.image(every.y), drawn)
    samples = every.y.expand(4, -1, -1, -1)  # [L, n, H W, 1]
    assert torch.equal(tasks.image(samples)[3], drawn)
    assert torch.equal(tasks.shown(every), drawn)


def test_pixels_that_are_not_shown_are_nan():
    tasks = make_tasks("glyph-completion", shots=30, queries=20)
    drawn = tasks.draw(3, generator())
    support, query = tasks.episode(drawn, generator())
    shown = tasks.shown(support)
    there = ~shown.isnan()
    assert shown.shape == drawn.shape and there.flatten(1).sum(1).tolist() == [30, 30, 30]
    assert torch.equal(shown[there], drawn[there])
    assert torch.equal(tasks.shown(query).isnan() | ~there, torch.ones_like(there))


def test_support_and_query_never_share_a_pixel_and_all_pixels_come(device):
    tasks = ImageCompletion(images(), shots=(3, 6), queries=9)
    assert isinstance(tasks, Tasks) and tasks.x_shape == (2,)
    sizes, seen, g = set(), set(), generator(device)
    for _ in range(40):
        episode = tasks.sample(2, g)
        sizes.add(episode.support.x.shape[1])
        for i in range(2):
            places = [tuple(p) for part in episode for p in part.x[i].tolist()]
            assert len(set(places)) == len(places)
            seen |= set(places[:1])
    assert sizes == {3, 4, 5, 6} and len(seen) == 15


def test_every_image_is_drawn_and_support_pixels_are_uniform():
    """400 tasks of three images: each 133 times, within 5 sqrt(400 * 2 / 9) = 47."""
    constant = torch.stack([torch.full((1, 2, 2), v, dtype=torch.uint8) for v in (0, 51, 255)])
    y = ImageCompletion(constant, shots=1, queries=1).sample(400, generator()).support.y.flatten()
    for value in (0.0, 0.2, 1.0):
        assert abs(int((y - value).abs().lt(1e-6).sum()) - 133) < 47


def test_same_seed_same_tasks(device):
    tasks = ImageCompletion(images(), shots=(1, 4), queries=5)
    a, b, c = (tasks.sample(3, generator(device, s)) for s in (1, 1, 2))
    assert torch.equal(a.query.x, b.query.x) and torch.equal(a.query.y, b.query.y)
    assert not torch.equal(a.query.x, c.query.x)


def test_distortion_reaches_the_ink():
    plain, turned = (ImageCompletion(images(), shots=2, queries=5, distort=d) for d in (None, lambda x, g: 1 - x))
    a, b = (tasks.sample(2, generator()) for tasks in (plain, turned))
    assert torch.equal(a.query.x, b.query.x)
    torch.testing.assert_close(a.query.y, 1 - b.query.y)


def test_the_letters_of_the_parts_are_those_of_the_data():
    for part in ("train", "test"):
        tasks = make_tasks("glyph-completion", part=part, shots=8, queries=20, distort=False)
        assert torch.equal(tasks.images, glyphs.load(part).images)
        drawn = tasks.draw(2, generator())
        assert drawn.shape == (2, 1, 28, 28) and 0.5 < drawn.max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": 0}, "shots: 0 given"),
        ({"shots": (5, 2)}, r"shots: \(5, 2\) given"),
        ({"queries": 0}, "queries: 0 given"),
        ({"shots": 8, "queries": 8}, r"shots \+ queries: 8 \+ 8 given; an image has 15 pixels"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ImageCompletion(images(), **{"shots": 2, "queries": 2, **change})
    with pytest.raises(ValueError, match=r"images: torch.float32 of shape \[3, 1, 3, 5\] given"):
        ImageCompletion(images().float())
