"""Does a probability of 0.8 mean right four times in five? Bins, expected calibration error, temperature.

Guo, Pleiss, Sun, Weinberger (2017), "On calibration of modern neural networks", arXiv:1706.04599.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_choice, check_count, check_positive

COLDEST, HOTTEST = 1e-2, 1e2  #: the temperatures that ``fit_temperature`` chooses from
LEVELS = tuple(round(0.01 * i, 2) for i in range(1, 51))  #: shares of known queries that a threshold may reject


class Calibration(NamedTuple):
    """What held-out tasks say about a learner's confidence.

    temperature: probabilities are the softmax of log-probabilities divided by it.
    thresholds: for each share of ``LEVELS`` the closeness (``metabook.open_set``) below which that share of known
        queries lies; None if unknown.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        return f"Calibration({self.temperature:g}, {len(self.thresholds or ())} thresholds)"

    def threshold(self, share: float) -> float:
        """The closeness that a share of known queries does not reach, interpolated between ``LEVELS``.

        Raises TypeError or ValueError unless ``share`` is within ``LEVELS``, ValueError if there are no thresholds.
        """
        if self.thresholds is None:
            raise ValueError(
                "reject: no thresholds are known for this learner; make them by metabook.open_set.calibrate"
            )
        if check_positive("reject", share) < LEVELS[0] or share > LEVELS[-1]:
            raise ValueError(f"reject: {share} given; allowed are {LEVELS[0]} to {LEVELS[-1]}")
        place = min(int((share - LEVELS[0]) / 0.01), len(LEVELS) - 2)
        part = (share - LEVELS[place]) / 0.01
        return self.thresholds[place] + part * (self.thresholds[place + 1] - self.thresholds[place])


class Reliability(NamedTuple):
    """Predictions in bins of equal width by confidence, the probability of the likeliest class; [M] each."""

    confidence: Tensor  #: mean confidence of each bin, NaN if it is empty
    accuracy: Tensor  #: fraction right in each bin, NaN if it is empty
    counts: Tensor  #: predictions in each bin, int64

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap between accuracy and confidence, over predictions."""
        # ECE = sum_m |B_m| / n |acc(B_m) - conf(B_m)|                                    (Guo et al., eq. 3)
        gap = (self.accuracy - self.confidence).abs().nan_to_num()
        return float((self.counts * gap).sum() / self.counts.sum())


def reliability(probs: Tensor, y: Tensor, *, bins: int = 10) -> Reliability:
    """Compare confidence with accuracy. probs: [n, N], rows that sum to 1; y: int64 [n].

    Bin m of M holds confidences in ((m-1)/M, m/M].

    Raises ValueError for shapes, labels or probabilities that do not fit.
    """
    check_count("bins", bins)
    _check(probs, y)
    if bool((probs < 0).any()) or bool(((probs.sum(1) - 1).abs() > 1e-3).any()):
        raise ValueError("probs: rows that are no probabilities given; each must sum to 1")
    confidence, said = probs.double().max(1)
    right = (said == y).double()
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    mean = [torch.zeros(bins, dtype=torch.float64).index_add(0, place, v) / count for v in (confidence, right)]
    return Reliability(mean[0], mean[1], count)


def fit_temperature(log_probs: Tensor, y: Tensor) -> float:
    """The temperature T whose softmax(log_probs / T) gives labels the highest likelihood. [n, N] and int64 [n].

    The loss is convex in 1/T, so that bisection of its slope finds the minimum. T stays between ``COLDEST`` and
    ``HOTTEST``: where every prediction is right, colder is always better.

    Raises ValueError for shapes, labels or values that do not fit.
    """
    _check(log_probs, y)
    if not bool(torch.isfinite(log_probs).all()):
        raise ValueError("log_probs: values that are not finite given; logits or log-probabilities are needed")
    z = log_probs.double() - log_probs.double().max(1, keepdim=True).values
    of_label = z.gather(1, y.unsqueeze(1)).mean()
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(60):
        b = (low * high) ** 0.5
        # L(b) = mean(log sum_k exp(b z_k) - b z_y), b = 1/T;  dL/db = mean(sum_k p_k z_k - z_y)
        slope = ((b * z).softmax(1) * z).sum(1).mean() - of_label
        low, high = (b, high) if slope < 0 else (low, b)
    return float(1 / (low * high) ** 0.5)


def temper(log_probs: Tensor, temperature: float) -> Tensor:
    """Log-probabilities at a temperature, float64 [n, N]: the order of the classes stays, confidence changes."""
    return (log_probs.double() / check_positive("temperature", temperature)).log_softmax(1)


def _check(values: Tensor, y: Tensor) -> None:
    check_choice("y.dtype", str(y.dtype), ["torch.int64"])
    if values.dim() != 2 or y.shape != values.shape[:1] or len(y) == 0:
        raise ValueError(f"probs, y: shapes {list(values.shape)} and {list(y.shape)} given; needed are [n, N] and [n]")
    if int(y.min()) < 0 or int(y.max()) >= values.shape[1]:
        raise ValueError(f"y: labels {int(y.min())} to {int(y.max())} given; allowed are 0 to {values.shape[1] - 1}")
