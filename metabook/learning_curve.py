"""How fast a network learns a task from where it starts: the loss on new examples against gradient steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from metabook.checks import check_count, check_positive
from metabook.episode import Episode
from metabook.inner_loop import descend, start
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, default_chunk, in_chunks, run


def learning_curve(
    net: nn.Module,
    likelihood: Likelihood,
    episode: Episode,
    *,
    lr: float | Mapping[str, Tensor],
    at: Sequence[int],
    measure: Callable[[Tensor, Tensor], Tensor] | None = None,
    how: str | None = None,
    chunk: int | None = None,
) -> Tensor:
    """The query loss of every task after each number of gradient steps in ``at``: [A, B], with no graph.

    Each task starts from the network's own weights and takes full steps on its support set,
    phi_{t+1} = phi_t - lr * grad L(S; phi_t). What is measured on the way is L(Q; phi_t). The network stays as it is.

    lr: one number, or a rate for each weight, name -> a tensor that broadcasts against that weight.
    at: numbers of steps in increasing order, from 0 (the start itself) on; A of them.
    measure: (outputs [B, Q, *], y) -> [B], in place of the likelihood's loss.
    how, chunk: as in ``metabook.mapping.run`` and ``default_chunk``; chosen by device and network when None.

    A task that a rate too high has driven out of the finite numbers has an infinite loss, never one that is left out.

    Raises ValueError or TypeError for ``at`` that is empty or does not increase, and a rate or chunk not above 0.
    """
    at = [check_count("at", t, least=0) for t in at]
    if not at or any(later <= earlier for earlier, later in pairwise(at)):
        raise ValueError(f"at: {at} given; one or more numbers of steps in increasing order are needed")
    rate = lr if isinstance(lr, Mapping) else check_positive("lr", lr)
    measured = likelihood.loss if measure is None else measure

    def curve(s: slice) -> Tensor:
        support, query = episode.tasks(s)

        def losses(phi: Phi) -> Tensor:
            return likelihood.loss(run(net, support.x, phi, how=how), support.y)

        phi, points = start(net, support.x.shape[0]), []
        for earlier, t in pairwise([0, *at]):
            phi = descend(losses, phi, lr=rate, steps=t - earlier)
            points.append(measured(run(net, query.x, phi, how=how), query.y))
        return torch.stack(points)

    with torch.no_grad():
        parts = in_chunks(curve, episode.batch_size, chunk or default_chunk(net, episode.support.x))
        values = torch.cat(parts, 1)
    return torch.where(torch.isfinite(values), values, torch.inf)
