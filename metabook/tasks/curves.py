"""Support and query examples of functions of one variable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metabook.episode import Episode, Examples


def draw_examples(
    curve: Callable[[Tensor], Tensor],
    n: int,
    sizes: tuple[int, int],
    x_range: tuple[float, float],
    generator: torch.Generator,
    noise: float | None = None,
    *,
    query_range: tuple[float, float] | None = None,
) -> Episode:
    """New examples of n functions, inputs uniform in ``x_range``: x and y [n, S, 1] and [n, Q, 1].

    curve: inputs [n, S + Q, 1] -> targets of the same shape. sizes: (S, Q), support and query examples of a function.
    noise: standard deviation of what is added to all targets; None draws nothing.
    query_range: of the inputs of the query set, which are then drawn after those of the support set.
    """
    parts = [(sum(sizes), x_range)] if query_range is None else [(sizes[0], x_range), (sizes[1], query_range)]
    draws = [torch.empty(n, s, 1, device=generator.device).uniform_(*r, generator=generator) for s, r in parts]
    x = torch.cat(draws, 1)
    y = curve(x)
    if noise is not None:
        y = y + noise * torch.randn(x.shape, generator=generator, device=generator.device)
    support, query = (Examples(*part) for part in zip(x.split(list(sizes), 1), y.split(list(sizes), 1), strict=True))
    return Episode(support, query)
