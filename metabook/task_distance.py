"""How far apart two tasks lie, as sets of class prototypes in one embedding space."""

from __future__ import annotations

import torch
from torch import Tensor


def task_distance(a: Tensor, b: Tensor, *, unbiased: bool = False) -> Tensor:
    """Energy distance between two sets of prototypes: 2 mean |a - b| - mean |a - a'| - mean |b - b'|, [...].

    Szekely and Rizzo (2013), doi:10.1016/j.jspi.2013.03.018. It is symmetric and never negative, it is zero
    only if both hold the same points in the same proportions, and the order of the classes does not matter. Its square
    root obeys the triangle inequality. Its unit is that of the embedding, so compare only values of one embedding.

    a: [..., Na, D], b: [..., Nb, D]: the prototypes of Na and of Nb classes, of one task or of many.
    unbiased: leave the pairs of a prototype with itself out of the last two means. If the classes are independent draws
        from two sources, the expected value is then the energy distance of the sources, whatever Na and Nb; it may be
        negative, and is not zero for the same set. With those pairs it is too high, for two draws from the same source
        by (1/Na + 1/Nb) times the mean distance there: not to be compared between sets of different sizes.

    Raises ValueError for shapes that do not fit, and fewer than 2 prototypes where ``unbiased``.
    """
    if a.dim() < 2 or b.dim() < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"b: shape {list(b.shape)} given; [..., Nb, D] is needed, as in a, {list(a.shape)}")
    least = 2 if unbiased else 1
    for name, points in (("a", a), ("b", b)):
        if points.shape[-2] < least:
            raise ValueError(f"{name}: {points.shape[-2]} prototypes given; at least {least} are needed")
    # E(A, B) = 2 E|a - b| - E|a - a'| - E|b - b'|
    return 2 * _distances(a, b).mean((-2, -1)) - _within(a, unbiased) - _within(b, unbiased)


def _within(points: Tensor, unbiased: bool) -> Tensor:
    n = points.shape[-2]
    return _distances(points, points).sum((-2, -1)) / (n * (n - 1 if unbiased else n))


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")  # by differences: exact zeros stay zero
