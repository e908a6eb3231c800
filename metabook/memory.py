"""Counts of bytes: those that backward passes wait for, and all that is asked for."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile


def peak_saved(act: Callable[[], object]) -> int:
    """The most bytes that autograd holds for later backward passes at any moment while ``act`` runs.

    Every storage counts once and whole, however many views of it are saved; weights that are saved count too. Tensors
    that only pass through (gradients on their way, temporaries) do not. It is a count, not a measurement: the same
    on every run and every device.
    """
    users: Counter[int] = Counter()
    now = most = 0

    def let_go(place: int, size: int) -> None:
        nonlocal now
        users[place] -= 1
        now -= size * (users[place] == 0)

    def keep(tensor: Tensor) -> Callable[[], Tensor]:
        nonlocal now, most
        place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        now += size * (users[place] == 0)
        most = max(most, now)
        users[place] += 1

        data = tensor.detach()  # with its history a result that its own node saves would be held for ever, by a cycle

        def kept() -> Tensor:
            return data

        weakref.finalize(kept, let_go, place, size)  # the graph alone holds it, and lets it go after a backward pass
        return kept

    with saved_tensors_hooks(keep, lambda kept: kept()):
        act()
    return most


def peak_allocated(act: Callable[[], object]) -> int:
    """The most bytes of tensors on the processor at any moment while ``act`` runs, beyond those that were there before.

    Every piece of memory that PyTorch asks for counts, temporaries and what autograd holds too. It is a count, not a
    measurement; but the first call of anything may ask for more than the next ones.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        kept = act()
    del kept
    now = most = 0
    for event in sorted(found.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most
