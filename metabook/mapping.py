"""Running a network over tasks: with shared weights, with one set of weights per task, and in chunks of tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from metabook.checks import check_choice, check_count

Phi = dict[str, Tensor]  #: per-task weights: parameter name -> [B, *p]
WAYS = ("stacked", "vmap", "loop")
T = TypeVar("T")
State = TypeVar("State")


def run(net: nn.Module, x: Tensor, phi: Mapping[str, Tensor] | None = None, *, how: str | None = None) -> Tensor:
    """The network on every example of every task: x [B, S, *X] -> [B, S, *Y].

    phi: weights of each task, parameter name -> [B, *p]; None for the network's own, shared by all tasks.
    how: "stacked" (the network itself takes a task dimension, as those of ``metabook.nn`` do), "vmap" or "loop" (any
        module that maps [S, *X] to [S, *Y]). By default stacked where the network can; else a loop for convolutions on
        a CPU, where it is faster; else vmap. The result and its gradients are the same every way.

    Raises ValueError for an unknown ``how``, or "stacked" with a network that takes no task dimension.
    """
    how = _pick(net, x, how)
    if how == "stacked":
        if phi is not None:
            return functional_call(net, dict(phi), (x,))
        chunk = default_chunk(net, x)  # on a CPU one task's activations fit the cache: twice as fast
        return torch.cat(in_chunks(lambda s: net(x[s]), len(x), chunk)) if chunk < len(x) else net(x)
    if phi is None:
        if uses_batch_statistics(net):  # the statistics of one task must not reach another
            return torch.stack([net(xs) for xs in x])
        return net(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    if how == "vmap":
        return vmap(lambda p, xs: functional_call(net, p, (xs,)), randomness="different")(dict(phi), x)
    return torch.stack([functional_call(net, {k: v[i] for k, v in phi.items()}, (x[i],)) for i in range(len(x))])


def _pick(net: nn.Module, x: Tensor, how: str | None) -> str:
    takes_tasks = getattr(net, "takes_tasks", False)
    if how is None:
        if takes_tasks:
            return "stacked"
        return "loop" if x.device.type == "cpu" and has_convolution(net) else "vmap"
    if check_choice("how", how, WAYS) == "stacked" and not takes_tasks:
        raise ValueError(
            f"how: 'stacked' given, but {type(net).__name__} takes no task dimension; use 'vmap' or 'loop'"
        )
    if how != "stacked" and takes_tasks:
        raise ValueError(f"how: {how!r} given, but {type(net).__name__} takes the task dimension itself; use 'stacked'")
    return how


def has_convolution(net: nn.Module) -> bool:
    """True if the network has a convolution, whose grouped form is slow on a CPU."""
    return channels(net) > 0


def channels(net: nn.Module) -> float:
    """Output channels of the widest convolution, 0 without one; on a quarter of the places each counts a quarter.

    Strides and pools (``places_kept``) leave fewer places to what comes after them, as if the modules were a chain.
    """
    widest, kept = 0.0, 1.0
    for module in net.modules():  # a plain loop: torch.compile cannot follow max(..., default=0)
        kept *= getattr(module, "places_kept", 1.0)
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            kept /= math.prod(module.stride)
            widest = max(widest, kept * module.out_channels)
    return widest


def uses_batch_statistics(net: nn.Module) -> bool:
    """True if a layer normalises by the examples it is given: a result then depends on the others of its task."""
    return any(
        getattr(m, "uses_batch_statistics", False)
        or (isinstance(m, _BatchNorm) and (m.training or m.running_mean is None))
        for m in net.modules()
    )


def default_chunk(net: nn.Module, x: Tensor) -> int:
    """How many tasks to adapt together: all, but for convolutions on a CPU as many as have 64 channels together.

    Their activations then fit the cache: one task with 64 ``channels`` at the size of the image, or four with 16,
    which is faster than one after the other.
    """
    if x.device.type != "cpu" or not has_convolution(net):
        return x.shape[0]
    return max(1, int(64 // channels(net)))


def default_micro_batch(net: nn.Module, device: torch.device, tasks: int) -> int:
    """How many tasks to hold the graphs of at once: all, but four for convolutions on a CPU, where it is faster."""
    return min(4, tasks) if device.type == "cpu" and has_convolution(net) else tasks


def per_chunk(fn: Callable[[slice], State], net: nn.Module, x: Tensor, chunk: int | None = None) -> State:
    """``fn`` of consecutive slices of the tasks, its results joined: what a learner does to a few tasks at a time.

    fn: slice -> a tensor, or a dict or tuple of such, with the tasks of the slice leading in every leaf.
    net, x [B, ...]: decide how many tasks go together (``default_chunk``) unless ``chunk`` says so.

    Raises TypeError or ValueError for a chunk below 1.
    """
    return _joined(in_chunks(fn, len(x), default_chunk(net, x) if chunk is None else chunk))


def run_per_chunk(net: nn.Module, x: Tensor, phi: Phi, *, how: str | None = None, chunk: int | None = None) -> Tensor:
    """``run`` with weights of each task, a few tasks at a time as in ``per_chunk``: x [B, S, *X] -> [B, S, *Y]."""
    return per_chunk(lambda s: run(net, x[s], {k: v[s] for k, v in phi.items()}, how=how), net, x, chunk)


def _joined(parts: list[Any]) -> Any:
    """States of consecutive tasks as one: every leaf joined along B."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, dict):
        return {k: _joined([part[k] for part in parts]) for k in first}
    joined = [_joined(list(leaves)) for leaves in zip(*parts, strict=True)]
    return type(first)(*joined) if hasattr(first, "_fields") else tuple(joined)


def in_chunks(fn: Callable[[slice], T], n: int, chunk: int) -> list[T]:
    """``fn`` of consecutive slices of at most ``chunk`` of the n tasks."""
    check_count("chunk", chunk)
    return [fn(slice(i, min(i + chunk, n))) for i in range(0, n, chunk)]
