"""Which example to look at next: where the learner is least sure, or anywhere.

Settles (2009), "Active learning literature survey", Univ. of Wisconsin TR 1648, sec. 3.1 (uncertainty sampling); for
Gaussian processes MacKay (1992), "Information-based objective functions for active data selection", sec. 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_choice, check_count
from metabook.coverage import normals
from metabook.episode import Examples
from metabook.learner import MetaLearner

CHOICES = ("uncertain", "random")


def spread(learner: MetaLearner, support: Examples, x: Tensor) -> Tensor:
    """The standard deviation of each single target at x [B, P, *X], summed over Dy: [B, P].

    Of a mixture of Normals, that of the whole: what is unknown of the function, and the noise.

    Raises TypeError for predictions that are no Normals and no mixtures of them.
    """
    parts = normals(learner.predict(learner.adapt(support), x))
    weight = parts.log_weight.exp()
    mean = (weight * parts.mean).sum(-1, keepdim=True)
    # Var y = E[sd^2 + (mean - E mean)^2]
    return (weight * (parts.sd.square() + (parts.mean - mean).square())).sum(-1).sqrt().sum(-1)


def choose(
    learner: MetaLearner,
    pool: Examples,
    *,
    picks: int = 10,
    first: int = 1,
    choice: str = "uncertain",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Indices into each task's pool, [B, picks], in the order of choice; no example is chosen twice.

    The first ``first`` are the pool's first examples, which stand for what was known before; then one at a time:
    "uncertain" takes the example whose target has the largest predictive standard deviation after those before it have
    been seen with their targets, of equal ones the first in the pool; "random" takes any. The target of an example is
    read only once it is chosen.

    pool: x [B, P, *X], y [B, P, Dy]. generator: for "random"; the global one when None.

    Raises TypeError or ValueError for counts out of range, and an unknown choice.
    """
    check_choice("choice", choice, CHOICES)
    b, size = pool.x.shape[:2]
    if check_count("picks", picks) > size:
        raise ValueError(f"picks: {picks} given; the pool has {size} examples")
    if check_count("first", first) > picks:
        raise ValueError(f"first: {first} given; at most the {picks} picks are allowed")
    chosen = torch.arange(first, device=pool.x.device).expand(b, -1)
    while chosen.shape[1] < picks:
        if choice == "uncertain":
            with torch.no_grad():
                value = spread(learner, take(pool, chosen), pool.x)
        else:
            value = torch.rand(b, size, generator=generator, device=pool.x.device)
        value = value.scatter(1, chosen, -torch.inf)
        chosen = torch.cat([chosen, value.argmax(1, keepdim=True)], 1)
    return chosen


def take(examples: Examples, index: Tensor) -> Examples:
    """The examples at ``index`` [B, K] of each task: x [B, K, *X], y [B, K, Dy]."""
    rows = torch.arange(len(index), device=index.device).unsqueeze(1)
    return Examples(examples.x[rows, index], examples.y[rows, index])


def errors(learner: MetaLearner, pool: Examples, chosen: Tensor, query: Examples) -> Tensor:
    """Squared error of the predictive mean on the queries after 1, 2, ..., K of the chosen examples: [B, K].

    chosen: from ``choose``, [B, K]; it may be another learner's choice.
    """
    after = []
    with torch.no_grad():
        for k in range(1, chosen.shape[1] + 1):
            predictions = learner.predict(learner.adapt(take(pool, chosen[:, :k])), query.x)
            after.append(learner.likelihood.scores(predictions, query.y)["mse"])
    return torch.stack(after, 1)
