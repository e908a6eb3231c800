"""Prototypical networks: a class is the mean of its embedded examples."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run


class ProtoNet(MetaLearner):
    """Prototypical networks: classify by squared distance to class means.

    Snell, Swersky, Zemel (2017), arXiv:1703.05175, eq. 1-2, alg. 1.
    State: prototypes, [B, N, D].
    Chapter: metric.
    Differs: none.

    net: the embedding, from inputs to D features. Every class needs at least one support example
        (``check_episode`` looks once a run; the prototype of a class without one is NaN).
    """

    def __init__(self, net: nn.Module, likelihood: Classification) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; prototypes need classes, Classification(n_way)")
        super().__init__(likelihood)
        self.net = net

    def adapt(self, support: Examples) -> Tensor:
        """Prototypes [B, N, D]: the mean embedding of each class."""
        z = run(self.net, support.x)
        # c_k = 1/|S_k| sum over S_k of f(x)                                              (eq. 1)
        member = F.one_hot(support.y, self.likelihood.size).to(z.dtype)  # [B, S, N]
        counts = member.sum(1).unsqueeze(-1)  # [B, N, 1]
        return member.mT @ z / counts

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """Softmax over negative squared distances to the prototypes; batch shape [B, Q]."""
        return self.likelihood.distribution(self._logits(state, query_x))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries' classes, in nats."""
        logits = self._logits(self.adapt(batch.support), batch.query.x)
        return self.likelihood.loss(logits, batch.query.y).mean()

    def _logits(self, prototypes: Tensor, query_x: Tensor) -> Tensor:
        z = run(self.net, query_x)
        # -|z - c|^2 = 2 z.c - |c|^2 - |z|^2; the last term is the same for every class     (eq. 2)
        return 2 * z @ prototypes.mT - prototypes.square().sum(-1).unsqueeze(1) - z.square().sum(-1, keepdim=True)
