"""Prototypical networks: a class is the mean of its embedded examples."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice, check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run


def _euclidean(z: Tensor, c: Tensor) -> Tensor:
    # -|z - c|^2 = 2 z.c - |c|^2 - |z|^2; the last term is the same for every class         (eq. 2)
    return 2 * z @ c.mT - c.square().sum(-1).unsqueeze(1) - z.square().sum(-1, keepdim=True)


def _cosine(z: Tensor, c: Tensor) -> Tensor:
    # z.c / (|z| |c|)                                                                     (sec. 2.6)
    return F.normalize(z, dim=-1) @ F.normalize(c, dim=-1).mT


#: Name -> logits of queries z [B, Q, D] for prototypes c [B, N, D], [B, Q, N].
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"euclidean": _euclidean, "cosine": _cosine}


class ProtoNet(MetaLearner):
    """Prototypical networks: classify by squared distance to class means.

    Snell, Swersky, Zemel (2017), arXiv:1703.05175, eq. 1-2, alg. 1.
    State: prototypes, [B, N, D].
    Chapter: metric.
    Differs: none from the paper. Its authors' code embeds support and query in one call, so that batch statistics are
        those of both; here, as ``adapt`` may not see the query, each set has its own.

    net: the embedding, from inputs to D features. Every class needs at least one support example
        (``check_episode`` looks once a run; the prototype of a class without one is NaN).
    distance: "euclidean", minus the squared distance as logit; or "cosine", the paper's ablation: the cosine of query
        and class mean. Cosines lie between -1 and 1, so no class gets more than 1 / (1 + (N - 1) e^-2).
    scale: where a learned factor of the logits starts, for example 10; None, as in the paper, for no such factor.

    Raises ValueError for a likelihood without classes, an unknown distance, or a scale that is not above 0.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Classification,
        *,
        distance: str = "euclidean",
        scale: float | None = None,
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; prototypes need classes, Classification(n_way)")
        super().__init__(likelihood)
        self.net = net
        self.distance = check_choice("distance", distance, DISTANCES)
        self.log_scale = None if scale is None else nn.Parameter(torch.tensor(math.log(check_positive("scale", scale))))

    def adapt(self, support: Examples) -> Tensor:
        """Prototypes [B, N, D]: the mean embedding of each class."""
        z = run(self.net, support.x)
        # c_k = 1/|S_k| sum over S_k of f(x)                                              (eq. 1)
        member = F.one_hot(support.y, self.likelihood.size).to(z.dtype)  # [B, S, N]
        counts = member.sum(1).unsqueeze(-1)  # [B, N, 1]
        return member.mT @ z / counts

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """Softmax over negative squared distances, or cosines, to the prototypes; batch shape [B, Q]."""
        return self.likelihood.distribution(self._logits(state, query_x))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries' classes, in nats."""
        logits = self._logits(self.adapt(batch.support), batch.query.x)
        return self.likelihood.loss(logits, batch.query.y).mean()

    def _logits(self, prototypes: Tensor, query_x: Tensor) -> Tensor:
        logits = DISTANCES[self.distance](run(self.net, query_x), prototypes)
        return logits if self.log_scale is None else logits * self.log_scale.exp()
