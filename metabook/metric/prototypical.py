"""Prototypical networks: a class is the mean of its embedded examples."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice, check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.nn.distances import DISTANCES


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
        and class mean, which lies between -1 and 1, so that without ``scale`` no class gets more than
        1 / (1 + (N - 1) e^-2); or "local", a likeness of maps [C, H, W] that are compared place by place
        (``metabook.nn.distances``).
    scale: where a learned factor of the logits starts, for example 10; None, as in the paper, for no such factor.
    swap: train both ways, also with the query as support set and the support set as query. Every class must then have
        one support example and one query. Comparisons are symmetric, so it costs no more.

    Raises ValueError for a likelihood without classes, an unknown distance, or a scale that is not above 0; in training
        with ``swap``, for more than one example or query a class.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Classification,
        *,
        distance: str = "euclidean",
        scale: float | None = None,
        swap: bool = False,
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; prototypes need classes, Classification(n_way)")
        super().__init__(likelihood)
        self.net = net
        self.distance = check_choice("distance", distance, DISTANCES)
        self.swap = swap
        self.log_scale = None if scale is None else nn.Parameter(torch.tensor(math.log(check_positive("scale", scale))))

    def adapt(self, support: Examples) -> Tensor:
        """Prototypes [B, N, D], or [B, N, C, H, W]: the mean embedding of each class."""
        return self._prototypes(self.embed(support.x), support.y)

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """Softmax over negative squared distances, or cosines, to the prototypes; batch shape [B, Q]."""
        return self.likelihood.distribution(self.compare(self.embed(query_x), state))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries' classes, in nats."""
        support, query = self.embed(batch.support.x), self.embed(batch.query.x)
        logits = self.compare(query, self._prototypes(support, batch.support.y))
        loss = self.likelihood.loss(logits, batch.query.y)
        if self.swap:
            loss = (loss + self._swapped_loss(logits, batch)) / 2
        return loss.mean()

    def embed(self, x: Tensor) -> Tensor:
        """[B, S, *X] -> [B, S, D], or maps [B, S, C, H, W]."""
        return run(self.net, x)

    def compare(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """Logits [B, Q, n] of embeddings z [B, Q, D] for any number n of prototypes [B, n, D]."""
        logits = DISTANCES[self.distance](z, prototypes)
        return logits if self.log_scale is None else logits * self.log_scale.exp()

    def _swapped_loss(self, logits: Tensor, batch: Episode) -> Tensor:
        """The loss with support set and query exchanged, [B], from logits [B, Q, N] of queries for prototypes."""
        examples, queries = batch.support.y.shape[1], batch.query.y.shape[1]
        if examples != self.likelihood.size or queries != self.likelihood.size:
            raise ValueError(
                f"swap: a task has {examples} examples and {queries} queries of {self.likelihood.size} "
                "classes; one of each class is needed"
            )
        # the one query of each class is its prototype, and a prototype of before is compared with all of them
        by_class = logits.gather(1, batch.query.y.argsort(1).unsqueeze(2).expand_as(logits))
        return self.likelihood.loss(by_class.mT, torch.arange(queries, device=logits.device).expand(len(logits), -1))

    def _prototypes(self, z: Tensor, y: Tensor) -> Tensor:
        # c_k = 1/|S_k| sum over S_k of f(x)                                              (eq. 1)
        member = F.one_hot(y, self.likelihood.size).to(z.dtype)  # [B, S, N]
        counts = member.sum(1).unsqueeze(-1)  # [B, N, 1]
        return (member.mT @ z.flatten(2) / counts).unflatten(2, z.shape[2:])
