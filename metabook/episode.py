"""Labelled sets and episodes: the data of meta-learning, as plain tuples of tensors.

Letters used everywhere: B tasks, S support examples, Q query examples, N ways, K shots (S = N*K).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Examples(NamedTuple):
    """A labelled set for each of B tasks.

    x: inputs, [B, S, *X] (images [B, S, C, H, W], scalars [B, S, 1]).
    y: targets, [B, S] int64 classes 0..N-1, or [B, S, Dy] float.
    """

    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Examples:
        """Move to a device; ``dtype`` converts the floating-point tensors and leaves classes alone."""

        def move(t: Tensor) -> Tensor:
            return t.to(device=device, dtype=dtype if t.is_floating_point() else None)

        return Examples(move(self.x), move(self.y))

    def tasks(self, index: slice) -> Examples:
        """The tasks in ``index``, the task dimension kept: [b, S, ...]."""
        return Examples(self.x[index], self.y[index])

    def minibatch(self, t: int, size: int) -> Examples:
        """The minibatch of step ``t``: about ``size`` of each task's examples, [B, ~size, ...].

        The S examples are dealt out in turn to ceil(S / size) minibatches, which come round again and again. Examples
        that are sorted by class are so spread over all of them, and nothing is drawn.
        """
        count = -(-self.x.shape[1] // size)
        return Examples(self.x[:, t % count :: count], self.y[:, t % count :: count])


class Episode(NamedTuple):
    """B tasks, each already split: a learner adapts on ``support`` and is scored on ``query``."""

    support: Examples
    query: Examples

    @property
    def batch_size(self) -> int:
        """B, the number of tasks."""
        return self.support.x.shape[0]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Episode:
        """Move to a device; ``dtype`` converts the floating-point tensors and leaves classes alone."""
        return Episode(self.support.to(device, dtype), self.query.to(device, dtype))

    def tasks(self, index: slice) -> Episode:
        """The tasks in ``index``, the task dimension kept."""
        return Episode(self.support.tasks(index), self.query.tasks(index))

    def task(self, i: int) -> Episode:
        """Task ``i`` alone, as an episode with B = 1.

        Raises IndexError when ``i`` is not a task of this episode.
        """
        b = self.batch_size
        if not -b <= i < b:
            raise IndexError(f"i: task {i} does not exist; this episode has {b} tasks, 0 to {b - 1}")
        return self.tasks(slice(i % b, i % b + 1))


def union(a: Examples, b: Examples) -> Examples:
    """Both sets of every task, one after the other: x [B, Sa+Sb, *X], y [B, Sa+Sb, ...]."""
    return Examples(torch.cat([a.x, b.x], 1), torch.cat([a.y, b.y], 1))
