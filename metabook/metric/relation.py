"""Relation networks: a network, not a formula, says how much a query is like a class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import per_chunk, run

LOSSES = ("mse", "cross-entropy")


class RelationNet(MetaLearner):
    """Relation networks: learn the comparison too, as a score in (0, 1) for each pair of a query and a class.

    Sung, Yang, Zhang, Xiang, Torr, Hospedales (2018), arXiv:1711.06025, sec. 3.2, eq. 1-2.
    State: class maps, [B, N, C, H, W]; [B, N, D] if the body gives vectors.
    Chapter: metric.
    Differs: the paper takes the class of the largest score. Here the odds r / (1 - r), divided by their sum over the
        classes, are the predictive distribution, which has the same largest class. It is exact where the scores are
        best and the classes of a task are independent of each other: a score sees one class alone, so its best value
        is P(y = j | x, S_j), and Bayes' rule makes the posterior given all classes of their odds. Squared error leaves
        small scores rough, and so the nll. The loss is the mean over the pairs, not their sum.

    body: from inputs to maps or vectors. relation: (query [B, Q, *F], classes [B, N, *F]) -> [B, Q, N], scores before
        the sigmoid, ``metabook.nn.RelationModule`` for example.
    loss: "mse", as in the paper, or the "cross-entropy" of the predictive distribution.
    """

    def __init__(self, body: nn.Module, relation: nn.Module, likelihood: Classification, *, loss: str = "mse") -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; relations need classes, Classification(n_way)")
        super().__init__(likelihood)
        self.body, self.relation = body, relation
        self.loss = check_choice("loss", loss, LOSSES)

    def adapt(self, support: Examples) -> Tensor:
        """Class maps [B, N, *F]: the sum of the maps of each class (sec. 3.2, K-shot)."""
        z = run(self.body, support.x)
        member = F.one_hot(support.y, self.likelihood.size).to(z.dtype)  # [B, S, N]
        return (member.mT @ z.flatten(2)).unflatten(2, z.shape[2:])

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """Odds r / (1 - r) divided by their sum over the classes; batch shape [B, Q]."""
        # r is the sigmoid of an output, so log r / (1 - r) is that output
        return self.likelihood.distribution(self._outputs(state, query_x))

    def relation_scores(self, state: Tensor, query_x: Tensor) -> Tensor:
        """The scores r in (0, 1) of every query and class, [B, Q, N]; they need not sum to 1."""
        # r_ij = g(C(f(x_i), f(x_j)))                                                     (eq. 1)
        return self._outputs(state, query_x).sigmoid()

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean squared error of the scores to 1 for the right class and 0 for the others, or the cross-entropy."""
        state, (x, y) = self.adapt(batch.support), batch.query
        if self.loss == "cross-entropy":
            return self.likelihood.loss(self._outputs(state, x), y).mean()
        r = self.relation_scores(state, x)
        # sum over i, j of (r_ij - 1(y_i == y_j))^2                                       (eq. 2)
        return (r - F.one_hot(y, self.likelihood.size).to(r.dtype)).square().mean()

    def _outputs(self, state: Tensor, query_x: Tensor) -> Tensor:
        z = run(self.body, query_x)
        outputs = per_chunk(lambda tasks: self.relation(z[tasks], state[tasks]), self.relation, z)
        needed = [*z.shape[:2], self.likelihood.size]
        if list(outputs.shape) != needed:  # squared error would broadcast another shape without a word
            raise ValueError(f"relation: outputs of shape {list(outputs.shape)} given; {needed} is needed")
        return outputs
