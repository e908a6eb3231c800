"""Random distortion of images."""

import pytest
import torch

from metabook.tasks.distort import Distort, _widened

OFF = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0, "elastic": 0.0, "stroke": 0.0}


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def drawings(device, n=40):
    """A filled L in the middle of a 28 x 28 page."""
    x = torch.zeros(n, 1, 28, 28, dtype=torch.float64, device=device)
    x[:, :, 8:20, 8:11] = 1
    x[:, :, 17:20, 8:18] = 1
    return x


def test_strengths_of_zero_change_nothing(device):
    x = drawings(device)
    assert torch.equal(Distort(**OFF)(x, generator(device)), x)


def test_a_vanishing_warp_is_the_identity(device):
    """The grid of the affine and elastic part is the identity grid when its strengths vanish."""
    x = torch.rand(5, 2, 9, 12, dtype=torch.float64, device=device)
    tiny = Distort(rotation=1e-9, scale=1e-9, shear=1e-9, shift=1e-9, elastic=1e-9, stroke=1e-9)
    torch.testing.assert_close(tiny(x, generator(device)), x, atol=1e-6, rtol=0)


def test_shift_moves_by_at_most_its_part_of_the_side(device):
    """Shift 1/7 of 28 pixels: centres of mass move by up to 4 pixels, on average by 2, evenly in x and y."""
    x = drawings(device, 2000)
    moved = Distort(**{**OFF, "shift": 1 / 7})(x, generator(device))
    pixels = torch.arange(28.0, dtype=x.dtype, device=device)
    for dimension in (2, 3):
        centre = [(t.sum(5 - dimension).squeeze(1) * pixels).sum(1) / t.sum((1, 2, 3)) for t in (x, moved)]
        by = centre[1] - centre[0]
        assert 3.9 < by.abs().max() < 4 + 1e-9
        assert abs(by.abs().mean() - 2) < 0.15 and abs(by.mean()) < 0.3


def test_rotation_turns_by_up_to_so_many_degrees(device):
    """The main axis of a bar, from its second moments: half the angle of (m_xx - m_yy, 2 m_xy)."""
    x = torch.zeros(2000, 1, 28, 28, dtype=torch.float64, device=device)
    x[:, :, 12:16, 4:24] = 1
    y = Distort(**{**OFF, "rotation": 25.0})(x, generator(device)).squeeze(1)
    place = torch.arange(28, dtype=x.dtype, device=device) - 13.5
    across, along, both = (
        (y * grid).sum((1, 2)) for grid in (place[None, :] ** 2, place[:, None] ** 2, place[None, :] * place[:, None])
    )
    angle = torch.rad2deg(torch.atan2(2 * both, across - along) / 2)
    assert 24 < angle.max() < 26 and -26 < angle.min() < -24
    assert abs(angle.abs().mean() - 12.5) < 1  # uniform


@pytest.mark.parametrize("name", [*OFF, "all"])
def test_values_stay_between_0_and_1_and_ink_is_about_kept(device, name):
    x = drawings(device, 400)
    strength = {"rotation": 30.0, "scale": 0.2, "shear": 0.3, "shift": 0.1, "elastic": 0.04, "stroke": 0.6}
    distort = Distort(**strength) if name == "all" else Distort(**{**OFF, name: strength[name]})
    y = distort(x, generator(device))
    assert y.shape == x.shape and y.dtype == x.dtype and y.min() >= 0 and y.max() <= 1
    assert not torch.equal(y, x)
    assert abs(y.mean() / x.mean() - 1) < 0.15
    spread = (y - y.mean(0)).abs().mean() / x.mean()
    assert spread > 0.02  # every image has a draw of its own


def test_strokes_get_wider_and_thinner(device):
    y = Distort(**{**OFF, "stroke": 1.0})(drawings(device, 400), generator(device))
    ink = y.sum((1, 2, 3)) / drawings(device, 1).sum()
    assert ink.min() < 0.6 and ink.max() > 1.4


def test_thin_strokes_do_not_get_paler(device):
    """A line of two pixels has no pixel whose neighbours are all ink, so thinning alone would halve its darkness."""
    x = torch.zeros(400, 1, 28, 28, dtype=torch.float64, device=device)
    x[:, :, 4:24, 13:15] = 0.9
    y = Distort(**{**OFF, "stroke": 0.5})(x, generator(device))
    torch.testing.assert_close(y.amax((1, 2, 3)), x.amax((1, 2, 3)))


def test_widened_is_the_largest_of_nine_neighbours(device):
    x = torch.rand(3, 2, 7, 9, dtype=torch.float64, device=device) - 0.5
    assert torch.equal(_widened(x), torch.nn.functional.max_pool2d(x, 3, 1, 1))


def test_same_seed_same_result_and_input_untouched(device):
    x = drawings(device)
    a, b, c = (Distort()(x, generator(device, seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(x, drawings(device))


def test_blank_page_stays_blank(device):
    assert (Distort()(torch.zeros(4, 1, 28, 28, device=device), generator(device)) == 0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("rotation", -1.0), ("rotation", 181.0), ("stroke", 1.5), ("elastic", float("nan")), ("shift", 2)],
)
def test_bad_strength(name, value):
    with pytest.raises(ValueError, match=f"{name}: {value} given; allowed are 0 to"):
        Distort(**{name: value})
