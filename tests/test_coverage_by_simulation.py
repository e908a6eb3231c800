"""What a band should hold: distribution functions by hand, and coverage by simulation where the truth is known."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from metabook.coverage import covered, normals


def column(values):
    """One task's targets, [1, Q, 1]."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1)


def erf_below(y, mean, sd):
    """The distribution function of a Normal, with the standard library."""
    return 0.5 * (1 + math.erf((y - mean) / sd / math.sqrt(2)))


def test_a_normal_by_hand():
    """N(1, 2^2) at 1: one half. At 1 + 2 * 1.2816: nine tenths."""
    prediction = Independent(Normal(column([1.0, 1.0]), column([2.0, 2.0])), 1)
    below = normals(prediction).cdf(column([1.0, 1 + 2 * 1.2815515655446004]))
    assert below.flatten().tolist() == pytest.approx([0.5, 0.9], abs=1e-12)


def test_a_mixture_by_hand():
    """1/4 N(0, 1) + 3/4 N(2, 3^2) at 1."""
    of = Normal(torch.tensor([0.0, 2.0]).double().view(1, 1, 1, 2), torch.tensor([1.0, 3.0]).double().view(1, 1, 1, 2))
    mixing = Categorical(torch.tensor([0.25, 0.75]).double().view(1, 1, 1, 2))
    below = normals(Independent(MixtureSameFamily(mixing, of), 1)).cdf(column([1.0]))
    assert below.item() == pytest.approx(0.25 * erf_below(1, 0, 1) + 0.75 * erf_below(1, 2, 3), abs=1e-12)


def test_latent_samples_are_a_mixture_for_each_target():
    """L = 2 functions with values 0 and 4 at one query, standard deviation 1: at 0 the mean of 1/2 and Phi(-4)."""
    prediction = Independent(Normal(torch.tensor([0.0, 4.0]).double().view(2, 1, 1, 1), 1.0), 1)
    below = normals(prediction).cdf(column([0.0]))
    assert below.shape == (1, 1, 1) and below.item() == pytest.approx((0.5 + erf_below(-4, 0, 1)) / 2, abs=1e-12)


def test_coverage_by_hand():
    """Of N(0, 1) the central 90 % end at 1.645 on both sides: two of four targets lie inside. For 50 %, at 0.674."""
    prediction, y = Independent(Normal(torch.zeros(1, 4, 1).double(), 1.0), 1), column([-1.7, -1.6, 0.6, 1.7])
    assert covered(prediction, y).tolist() == [0.5]
    assert covered(prediction, y, level=0.5).tolist() == [0.25]
    assert covered(prediction, y, level=0.95).tolist() == [1.0]


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_right_predictions_cover_their_level_and_narrow_ones_less(level):
    """20,000 targets drawn from the predictions themselves: a share within 5 sqrt(p (1 - p) / n) = 0.018 of p.

    Half of the width covers far less, of a Normal. Two latent functions are right if a target comes from one of them.
    """
    g = torch.Generator().manual_seed(0)
    mean = torch.randn(20, 1000, 1, generator=g, dtype=torch.float64)
    noise = torch.randn(20, 1000, 1, generator=g, dtype=torch.float64)
    which = torch.rand(20, 1000, 1, generator=g) < 0.5
    both = torch.stack([mean, mean + 3])
    for centre, prediction in ((mean, mean), (torch.where(which, both[0], both[1]), both)):
        y = centre + 0.7 * noise
        right = covered(Independent(Normal(prediction, 0.7), 1), y, level=level)
        assert right.shape == (20,) and abs(right.mean().item() - level) < 0.018
    assert covered(Independent(Normal(mean, 0.35), 1), mean + 0.7 * noise, level=level).mean() < level - 0.1


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, -0.1])
def test_a_level_that_is_none_is_named(level):
    with pytest.raises(ValueError, match=r"^level: .*given"):
        covered(Independent(Normal(column([0.0]), 1.0), 1), column([0.0]), level=level)
