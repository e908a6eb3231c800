"""A fair clock for comparing two pieces of code on a busy machine."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch


class Timer:
    """Times pieces of code against each other, in turns."""

    def __init__(self, device: torch.device, rounds: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """clock: seconds; with ``time.process_time``, on the CPU alone, what other programs do does not count."""
        self.device, self.rounds, self.clock = device, rounds, clock

    def __call__(self, *sides: Callable[[], object]) -> list[float]:
        """Median seconds of each side, the sides taking turns, after one turn that does not count.

        A turn repeats its side for a tenth of a second, so that neither pays for what the other left in the caches.
        """
        seconds: list[list[float]] = [[] for _ in sides]
        repeats = [math.ceil(0.1 / max(self._seconds(side, 1), 1e-6)) for side in sides]
        for _ in range(self.rounds):
            for side, times, n in zip(sides, seconds, repeats, strict=True):
                times.append(self._seconds(side, n))
        return [statistics.median(times) for times in seconds]

    def _seconds(self, side: Callable[[], object], repeats: int) -> float:
        self._wait()
        begin = self.clock()
        for _ in range(repeats):
            side()
        self._wait()
        return (self.clock() - begin) / repeats

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
