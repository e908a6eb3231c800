"""Choosing where to compute."""

from __future__ import annotations

import torch


def pick_device(device: torch.device | str | None = None) -> torch.device:
    """The device asked for, or else cuda, mps or cpu, whichever there is first.

    Raises ValueError if the device asked for is unknown or not there.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
        torch.Generator(device=chosen)  # "meta", for one, has tensors but draws nothing
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        have = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
        raise ValueError(f"device: {device!r} given; this machine has {', '.join(have)}") from error
    return chosen


def make_generator(device: torch.device, seed: int) -> torch.Generator:
    """A generator on ``device`` that starts from ``seed``. Raises TypeError or ValueError for a bad seed."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: {seed!r} given; a whole number from 0 is needed")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed: {seed} given; a whole number from 0 to 2**63 - 1 is needed")
    return torch.Generator(device=device).manual_seed(seed)
