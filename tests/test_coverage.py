"""Intervals: numbers by hand, a slow reference, and what simulation says of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from metabook.coverage import Interval, Normals, fit_factor, normals


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def single(mean, sd):
    """Normal predictions of one task, [1, Q, 1]."""
    return Independent(Normal(tensor(*mean).view(1, -1, 1), tensor(*sd).view(1, -1, 1)), 1)


def test_the_interval_of_a_normal_by_hand():
    """P(|z| < 1.6448536) = 0.9: from 2 - 3.2897 to 2 + 3.2897 for N(2, 4). Width 6.5794, the nll at the mean
    log 2 + log(2 pi) / 2 = 1.6121."""
    parts = normals(single([2.0], [2.0]))
    inside = parts.interval()
    assert inside.low.item() == pytest.approx(2 - 2 * 1.6448536, abs=1e-6)
    assert inside.high.item() == pytest.approx(2 + 2 * 1.6448536, abs=1e-6)
    assert parts.nll(tensor(2.0).view(1, 1, 1)).item() == pytest.approx(math.log(2) + 0.5 * math.log(2 * math.pi))


def test_a_unit_variance_of_one_half_claims_a_fixed_width():
    """The regression learners with variance 1/2 claim 2 * 1.6448536 * sqrt(1/2) = 2.3262 whatever they have seen."""
    parts = normals(single([0.0, 100.0], [math.sqrt(0.5)] * 2))
    assert parts.interval().scores(torch.zeros(1, 2, 1))["width"].item() == pytest.approx(2.3261743)


def test_coverage_and_width_by_hand():
    """Intervals (0, 2), (1, 5) with targets 1 and 6: one of two inside, mean width 3. Ends belong to it."""
    inside = Interval(tensor(0.0, 1.0).view(1, 2, 1), tensor(2.0, 5.0).view(1, 2, 1))
    scores = inside.scores(tensor(1.0, 6.0).view(1, 2, 1))
    assert (scores["coverage"].item(), scores["width"].item()) == (0.5, 3.0)
    assert inside.covers(tensor(2.0, 1.0).view(1, 2, 1)).all()


def test_stretching_by_hand():
    """(1, 5) has the middle 3 and half-width 2; three times as wide it is (-3, 9)."""
    wide = Interval(tensor(1.0).view(1, 1, 1), tensor(5.0).view(1, 1, 1)).stretch(3.0)
    assert (wide.low.item(), wide.high.item()) == (-3.0, 9.0)


def test_the_factor_by_hand():
    """Middles 0, half-widths 1, |targets| 0.5, 1, 2, 4. To cover 3 of 4 the factor must be 2; all 4, 4; half, 1."""
    y = tensor(0.5, -1.0, 2.0, -4.0).view(1, 4, 1)
    inside = Interval(-torch.ones_like(y), torch.ones_like(y))
    assert [fit_factor(inside, y, level) for level in (0.5, 0.75, 0.9)] == [1.0, 2.0, 4.0]
    assert inside.stretch(2.0).scores(y)["coverage"].item() == 0.75


def test_quantiles_of_a_mixture_against_bisection_with_loops():
    """Two Normals 5 apart with weights 0.3 and 0.7, against scalar code with math.erf."""
    mean, sd, weight = (-2.0, 3.0), (0.5, 1.0), (0.3, 0.7)

    def cdf(y):
        each = zip(mean, sd, weight, strict=True)
        return sum(w * 0.5 * (1 + math.erf((y - m) / (s * math.sqrt(2)))) for m, s, w in each)

    def quantile(p):
        low, high = -50.0, 50.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if cdf(middle) < p else (low, middle)
        return (low + high) / 2

    mixing = Categorical(probs=tensor(*weight).view(1, 1, 1, 2))
    prediction = Independent(
        MixtureSameFamily(mixing, Normal(tensor(*mean).view(1, 1, 1, 2), tensor(*sd).view(1, 1, 1, 2))), 1
    )
    parts = normals(prediction)
    for p in (0.05, 0.25, 0.3, 0.5, 0.95):
        assert parts.quantile(p).item() == pytest.approx(quantile(p), abs=1e-9)
    y = tensor(0.7).view(1, 1, 1)
    assert parts.cdf(y).item() == pytest.approx(cdf(0.7), abs=1e-12)
    assert parts.nll(y).item() == pytest.approx(-prediction.log_prob(y).item(), abs=1e-12)


def test_latent_samples_are_a_mixture_of_equal_weights():
    """[L, B, Q]: by hand, L = 2 at -4 and 4 with tiny spread; half the mass is left of 0."""
    prediction = Independent(Normal(tensor(-4.0, 4.0).view(2, 1, 1, 1), torch.full((2, 1, 1, 1), 0.1).double()), 1)
    parts = normals(prediction)
    assert parts.mean.shape == (1, 1, 1, 2)
    assert parts.cdf(tensor(0.0).view(1, 1, 1)).item() == pytest.approx(0.5)
    low, high = parts.interval()
    # 5 % of all is 10 % of the left Normal: -4 - 0.1 * 1.2815516
    assert low.item() == pytest.approx(-4.12815516, abs=1e-6) and high.item() == pytest.approx(4.12815516, abs=1e-6)
    at = parts.nll(tensor(4.0).view(1, 1, 1)).item()
    assert at == pytest.approx(math.log(2) + math.log(0.1) + 0.5 * math.log(2 * math.pi))


def test_one_normal_is_a_mixture_of_one():
    """The limit: a mixture of three equal Normals has the interval of one."""
    alone = normals(single([1.0], [0.3])).interval()
    same = Normals(*(tensor(v).expand(1, 1, 1, 3) for v in (-math.log(3), 1.0, 0.3)))
    for a, b in zip(alone, same.interval(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("level", "error"), [(0.0, ValueError), (1.0, ValueError), ("all", TypeError)])
def test_a_level_that_is_no_probability(level, error):
    with pytest.raises(error, match=r"^level: "):
        normals(single([0.0], [1.0])).interval(level)


def test_what_has_no_interval_is_named():
    with pytest.raises(TypeError, match=r"^predictions: Categorical given"):
        normals(Categorical(probs=torch.ones(1, 1, 2) / 2))
    zero = torch.zeros(1, 1, 1)
    with pytest.raises(ValueError, match=r"^intervals: some of width 0"):
        fit_factor(Interval(zero, zero), zero)
    with pytest.raises(ValueError, match=r"^factor: "):
        Interval(zero, zero).stretch(0.0)
