"""Numbers too small to matter, which a processor is slow with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def are_flushed() -> bool:
    """Whether this thread takes subnormal numbers, those below 1.2e-38 in float32, for zero."""
    least = torch.tensor(torch.finfo(torch.float32).tiny)
    return not bool((least * 0.5).item())


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """In this thread, on a CPU, take subnormal numbers for zero; what was so before is restored.

    The running mean of a gradient that has become zero falls by a constant factor a step, and after some hundred steps
    it is subnormal. A processor can take a hundred times as long for those: so it is with Muon's products of matrices
    (``metabook.muon``) once some units of a network have died. Where the processor cannot flush, nothing changes.
    """
    before = are_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
