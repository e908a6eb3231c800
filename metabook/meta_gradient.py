"""The gradient that trains theta, a few tasks at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from metabook.compiled import compiled_gradient
from metabook.episode import Episode
from metabook.learner import MetaLearner


def meta_gradient(learner: MetaLearner, episode: Episode, micro_batch: int) -> Tensor:
    """Add the gradient of the mean meta-loss to ``.grad``; return the loss, a detached scalar.

    micro_batch: tasks per backward pass. Their graph is freed before the next, so it bounds the memory.
    """
    total = torch.zeros((), device=episode.support.x.device)
    for part, share in _parts(episode, micro_batch):
        loss = learner.meta_loss(part) * share
        loss.backward()
        total = total + loss.detach()
    return total


def compiled_meta_gradient(learner: MetaLearner) -> Callable[[MetaLearner, Episode, int], Tensor]:
    """``meta_gradient`` of this learner, compiled. Raises RuntimeError as ``compiled_gradient`` does."""
    gradient = compiled_gradient(learner)

    def run(learner: MetaLearner, episode: Episode, micro_batch: int) -> Tensor:
        total = torch.zeros((), device=episode.support.x.device)
        parameters = dict(learner.named_parameters())
        for part, share in _parts(episode, micro_batch):
            loss, grads = gradient(part)
            total = total + loss * share
            for name, g in grads.items():
                p = parameters[name]
                p.grad = g * share if p.grad is None else p.grad.add_(g, alpha=share)
        return total

    return run


def _parts(episode: Episode, micro_batch: int) -> Iterator[tuple[Episode, float]]:
    """Consecutive tasks, at most ``micro_batch`` at a time, and their share of the whole."""
    n = episode.batch_size
    for i in range(0, n, micro_batch):
        part = episode.tasks(slice(i, i + micro_batch)) if micro_batch < n else episode
        yield part, part.batch_size / n
