"""Checks of arguments. Every message names the argument, what was given and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from metabook.episode import Episode
    from metabook.likelihood import Likelihood


def check_count(name: str, value: int, *, least: int = 1) -> int:
    """``value`` if it is an int of at least ``least``; else TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: {value!r} given; a whole number of at least {least} is needed")
    if value < least:
        raise ValueError(f"{name}: {value} given; at least {least} is needed")
    return value


def check_positive(name: str, value: float) -> float:
    """``value`` as a float if it is finite and above zero; else TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: {value!r} given; a number above 0 is needed")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name}: {value} given; a finite number above 0 is needed")
    return float(value)


def check_weight(name: str, value: float) -> float:
    """``value`` as a float if it is finite and not below zero; else TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: {value!r} given; a number of at least 0 is needed")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}: {value} given; a finite number of at least 0 is needed")
    return float(value)


def check_range(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """``value`` as (low, high) with low <= high, both finite; one number means (number, number); else ValueError."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in pair)
    if not numbers or len(pair) != 2 or pair[0] > pair[1]:
        raise ValueError(f"{name}: {value!r} given; a pair (low, high) of finite numbers with low <= high is needed")
    return float(pair[0]), float(pair[1])


def check_choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """``value`` if it is one of ``allowed``; else ValueError that lists them."""
    options = list(allowed)
    if value not in options:
        raise ValueError(f"{name}: {value!r} given; allowed are {', '.join(options)}")
    return value


def check_episode(episode: Episode, likelihood: Likelihood, x_shape: tuple[int, ...] | None = None) -> Episode:
    """``episode`` if its shapes, dtypes and labels fit ``likelihood``; else ValueError.

    Reads values (NaN, label range), so call it once a run, not once a step.
    """
    for name, part in (("support", episode.support), ("query", episode.query)):
        x, y = part.x, part.y
        if x.dim() < 3 or x.shape[:2] != y.shape[:2]:
            raise ValueError(
                f"{name}: x of shape {list(x.shape)} and y of shape {list(y.shape)} given; "
                "x must be [B, S, *X] and y [B, S, ...]"
            )
        if 0 in x.shape:
            raise ValueError(f"{name}.x: shape {list(x.shape)} given; every task needs at least one example")
        if not x.is_floating_point():
            raise ValueError(f"{name}.x: {x.dtype} given; inputs must be floating point")
        if not bool(torch.isfinite(x).all()) or (y.is_floating_point() and not bool(torch.isfinite(y).all())):
            raise ValueError(f"{name}: NaN or infinite values given; all values must be finite")
        if x_shape is not None and tuple(x.shape[2:]) != tuple(x_shape):
            raise ValueError(f"{name}.x: examples of shape {list(x.shape[2:])} given; {list(x_shape)} is needed")
        likelihood.check(name, part)
    if episode.support.x.shape[0] != episode.query.x.shape[0]:
        raise ValueError(
            f"query: {episode.query.x.shape[0]} tasks given; the support set has {episode.support.x.shape[0]}"
        )
    if episode.support.x.shape[2:] != episode.query.x.shape[2:]:
        raise ValueError(
            f"query.x: examples of shape {list(episode.query.x.shape[2:])} given; "
            f"the support set has {list(episode.support.x.shape[2:])}"
        )
    return episode
