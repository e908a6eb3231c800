"""Calibration: numbers by hand, and temperatures that are known."""

from __future__ import annotations

import math

import pytest
import torch

from metabook.calibration import COLDEST, HOTTEST, LEVELS, Calibration, fit_temperature, reliability, temper
from metabook.plots import show_reliability


def test_expected_calibration_error_by_hand():
    """Four predictions, two bins. (0, 1/2]: confidence 0.5, right: gap 0.5. (1/2, 1]: 0.6 and 0.8 and 1.0, of which
    two are right: gap |2/3 - 0.8| = 2/15. ECE = 1/4 * 1/2 + 3/4 * 2/15 = 0.125 + 0.1 = 0.225."""
    probs = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.2, 0.8], [0.0, 1.0]])
    bins = reliability(probs, torch.tensor([0, 1, 1, 1]), bins=2)
    assert bins.counts.tolist() == [1, 3]
    torch.testing.assert_close(bins.confidence, torch.tensor([0.5, 0.8]).double())
    torch.testing.assert_close(bins.accuracy, torch.tensor([1.0, 2 / 3]).double())
    assert bins.error == pytest.approx(0.225)


def test_a_bin_includes_its_upper_end_and_empty_bins_count_nothing():
    """Confidence exactly 0.6 of five bins belongs to (0.4, 0.6]; the four other bins are empty."""
    bins = reliability(torch.tensor([[0.6, 0.4]], dtype=torch.float64), torch.tensor([0]), bins=5)
    assert bins.counts.tolist() == [0, 0, 1, 0, 0]
    assert bins.confidence.isnan().tolist() == [True, True, False, True, True]
    assert bins.error == pytest.approx(0.4)


def drawn(n, temperature, seed=0):
    """Logits, and labels drawn from softmax(logits / temperature)."""
    g = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 4, generator=g, dtype=torch.float64)
    return logits, torch.multinomial((logits / temperature).softmax(1), 1, generator=g)[:, 0]


def test_labels_drawn_from_the_probabilities_have_an_error_near_zero():
    # With n = 40,000 in ten bins the standard error of a bin's accuracy is below 0.01.
    logits, y = drawn(40_000, 1.0)
    assert reliability(logits.softmax(1), y).error < 0.01
    assert reliability((3 * logits).softmax(1), y).error > 0.05  # too sure
    assert reliability((logits / 4).softmax(1), y).error > 0.05  # too shy


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    logits, y = drawn(40_000, temperature)
    found = fit_temperature(logits.log_softmax(1), y)
    assert found == pytest.approx(temperature, rel=0.03)
    assert reliability(temper(logits, found).exp(), y).error < 0.01


def test_a_temperature_by_hand():
    """Two classes, logits (1, 0) each time, and three of four labels are the first class: the likelihood is highest
    where the sigmoid of 1/T is 3/4, so that 1/T = log 3."""
    logits = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    assert fit_temperature(logits, torch.tensor([0, 0, 1, 0])) == pytest.approx(1 / math.log(3))


def test_no_other_temperature_is_likelier():
    logits, y = drawn(300, 1.7, seed=1)

    def loss(t):
        return -temper(logits, t).gather(1, y.unsqueeze(1)).mean()

    best = fit_temperature(logits, y)
    grid = torch.logspace(-2, 2, 401, dtype=torch.float64).tolist()
    assert loss(best) <= min(loss(t) for t in grid) + 1e-12


def test_temperature_stays_within_its_limits():
    logits = torch.tensor([[1.0, 0.0]])
    assert fit_temperature(logits, torch.tensor([0])) == pytest.approx(COLDEST)  # right: the colder the better
    assert fit_temperature(logits, torch.tensor([1])) == pytest.approx(HOTTEST)  # wrong: the hotter the better


def test_temper_by_hand_and_its_limit():
    """softmax(log p / 2) of p = (0.8, 0.2): sqrt(0.8) to sqrt(0.2) is 2 to 1. At temperature 1 nothing changes."""
    p = torch.tensor([[0.8, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(temper(p.log(), 2.0).exp(), torch.tensor([[2 / 3, 1 / 3]], dtype=torch.float64))
    torch.testing.assert_close(temper(p.log(), 1.0).exp(), p)


def test_thresholds_are_interpolated_between_the_levels():
    """Level i is 0.01 (i + 1) and has threshold i: the share 0.05 is level 4, 0.055 lies half way to level 5."""
    calibration = Calibration(1.0, tuple(float(i) for i in range(len(LEVELS))))
    assert calibration.threshold(0.05) == pytest.approx(4.0)
    assert calibration.threshold(0.055) == pytest.approx(4.5)
    assert (calibration.threshold(0.01), calibration.threshold(0.5)) == (pytest.approx(0), pytest.approx(49))


@pytest.mark.parametrize(
    ("share", "error", "says"),
    [(0.0, ValueError, "above 0"), (0.6, ValueError, "0.01 to 0.5"), ("5 %", TypeError, "reject: '5 %'"),
     (float("nan"), ValueError, "reject: nan"), (True, TypeError, "reject: True")],
)  # fmt: skip
def test_a_share_out_of_range(share, error, says):
    with pytest.raises(error, match=says):
        Calibration(1.0, tuple(range(50))).threshold(share)


def test_no_thresholds_say_where_they_come_from():
    with pytest.raises(ValueError, match=r"reject: no thresholds .*open_set.calibrate"):
        Calibration().threshold(0.05)


@pytest.mark.parametrize(
    ("probs", "y", "says"),
    [
        (torch.ones(3, 2), torch.tensor([0, 1, 0]), "probs: rows that are no probabilities"),
        (torch.full((3, 2), 0.5), torch.tensor([0, 1, 2]), "y: labels 0 to 2 given; allowed are 0 to 1"),
        (torch.full((3, 2), 0.5), torch.tensor([0, 1]), "probs, y: shapes"),
        (torch.full((3, 2), 0.5), torch.tensor([0.0, 1.0, 0.0]), "y.dtype"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "probs, y: shapes"),
    ],
)
def test_what_does_not_fit_is_refused(probs, y, says):
    with pytest.raises(ValueError, match=says):
        reliability(probs, y)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature(torch.tensor([[0.0, -math.inf]]), torch.tensor([0]))


def test_the_plot_has_a_dot_for_each_bin_that_is_not_empty():
    probs = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.2, 0.8], [0.0, 1.0]])
    bins = reliability(probs, torch.tensor([0, 1, 1, 1]), bins=4)  # (1/4, 1/2], (1/2, 3/4] and (3/4, 1]
    axis = show_reliability(bins)
    x, y = axis.get_lines()[1].get_data()
    assert x.tolist() == pytest.approx([0.5, 0.6, 0.9]) and y.tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert axis.get_xlabel() == "confidence" and "n = 4" in axis.get_legend().get_texts()[0].get_text()
    assert len(show_reliability(bins, axis=axis, label="again").get_lines()) == 3
