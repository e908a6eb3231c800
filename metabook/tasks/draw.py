"""Drawing without replacement, for many rows at once."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_distinct(k: int, count: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """For each row r, k distinct numbers of 0..count[r]-1 in uniformly random order, [R, k].

    count: [R] int64, on the generator's device; most: a number that no count exceeds. A row with count < k has all its
    numbers first; what follows them means nothing.

    Few numbers are shuffled whole; from many, Floyd's sampling draws k at a cost that does not depend on ``most``
    (Bentley, Floyd 1987, "Programming pearls: a sample of brilliance", doi:10.1145/30401.315746).
    """
    if most <= 4 * k:
        keys = torch.rand(len(count), max(most, k), generator=generator, device=count.device)
        keys += torch.arange(keys.shape[1], device=count.device) >= count.unsqueeze(1)
        return keys.argsort(1)[:, :k]
    # step i draws from 0..top; where that number is taken, it takes top itself, which no earlier step could draw
    top = count + torch.arange(-k, 0, device=count.device).unsqueeze(1)  # [k, R]
    drawn = (torch.rand(top.shape, generator=generator, device=count.device) * (top + 1)).long().minimum(top)
    drawn = torch.where(top < 0, top, drawn)  # a step that this row does not have: a mark that is never drawn
    for i in range(1, k):
        taken = (drawn[:i] == drawn[i]).any(0)
        drawn[i] = torch.where(taken, top[i], drawn[i])
    keys = torch.rand(top.shape, generator=generator, device=count.device) + (top < 0)
    return drawn.gather(0, keys.argsort(0)).T


def draw_by_label(n: int, way: int, classes: int, generator: torch.Generator) -> Tensor:
    """For each of n tasks one class for every label, [n, way]: for label j uniformly from j, j + way, j + 2 way, ..."""
    label = torch.arange(way, device=generator.device)
    count = (classes - 1 - label) // way + 1
    drawn = (torch.rand(n, way, generator=generator, device=generator.device) * count).long().minimum(count - 1)
    return label + way * drawn
