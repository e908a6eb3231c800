"""Matching networks: a label by attention over the labelled examples themselves."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_weight
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run


class Slots(NamedTuple):
    """The memory of each task, one slot a support example.

    keys: embeddings g(x_i, S), [B, S, D]. values: labels y_i, one-hot, [B, S, N].
    """

    keys: Tensor
    values: Tensor


class MatchingNet(MetaLearner):
    """Matching networks: each support example votes for its label, weighted by a softmax of cosines to the query.

    Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra (2016), arXiv:1606.04080, eq. 1, sec. 2.1, app. A.
    State: Slots: keys [B, S, D] and values [B, S, N].
    Chapter: metric.
    Differs: the cosines are multiplied by ``scale``, 10; in the paper they are bare, ``scale=1.0``, which bounds every
        probability. Full context reads from h_0 = f'(x), c_0 = 0, and K is 5; the paper leaves them open.

    net: the embedding f' = g', from inputs to D features. A class without support examples has probability 0.
    full_context: LSTMs let each key depend on the whole support set, and each query on all keys; then the order of the
        support set matters. features: D, needed for it. steps: reads K of the query's LSTM; 0 for none.

    Raises ValueError for another likelihood and a scale below 0, TypeError or ValueError for counts that are none.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Classification,
        *,
        scale: float = 10.0,
        full_context: bool = False,
        features: int = 0,
        steps: int = 5,
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; labels that mix need classes, Classification(n_way)")
        super().__init__(likelihood)
        self.net = net
        self.scale = check_weight("scale", scale)
        self.steps = check_count("steps", steps, least=0)
        self.ordered = full_context
        self.encoder: nn.LSTM | None = None
        self.reader: nn.LSTMCell | None = None
        if full_context:
            d = check_count("features", features)
            self.encoder = nn.LSTM(d, d, batch_first=True, bidirectional=True)
            self.reader = nn.LSTMCell(2 * d, d)

    def adapt(self, support: Examples) -> Slots:
        """Writes every example into a slot of its own: its embedding is the key, its label the value."""
        keys = run(self.net, support.x)
        if self.encoder is not None:
            # g(x_i, S) = h_forward_i + h_backward_i + g'(x_i)                              (app. A.2)
            keys = keys + self.encoder(keys)[0].unflatten(-1, (2, -1)).sum(-2)
        return Slots(keys, F.one_hot(support.y, self.likelihood.size).to(keys.dtype))

    def predict(self, state: Slots, query_x: Tensor) -> Distribution:
        """p(y | x, S) = sum_i a(x, x_i) y_i; batch shape [B, Q]."""
        return self.likelihood.distribution(self._logits(state, query_x))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries' classes, in nats."""
        logits = self._logits(self.adapt(batch.support), batch.query.x)
        return self.likelihood.loss(logits, batch.query.y).mean()

    def _logits(self, slots: Slots, query_x: Tensor) -> Tensor:
        z = self._read(run(self.net, query_x), slots.keys)
        similarity = self.scale * _unit(z) @ _unit(slots.keys).mT  # [B, Q, S]
        # log sum_i exp(c(x, x_i)) y_i, for every class: log p(y | x, S) but for the softmax's denominator   (eq. 1)
        log_values = slots.values.log().clamp(min=torch.finfo(z.dtype).min)  # no -inf, whose gradient is NaN
        return (similarity.unsqueeze(-1) + log_values.unsqueeze(1)).logsumexp(2)

    def _read(self, z: Tensor, keys: Tensor) -> Tensor:
        """f(x, S) of each query, [B, Q, D], from f'(x) = z after K reads of the keys (app. A.1)."""
        if self.reader is None:
            return z
        h, c = z, torch.zeros_like(z).flatten(0, 1)
        for _ in range(self.steps):
            # r_k-1 = sum_i a(h_k-1, g(x_i)) g(x_i), with a the softmax of inner products
            r = (h @ keys.mT).softmax(-1) @ keys
            # h^_k, c_k = LSTM(f'(x), [h_k-1, r_k-1], c_k-1); a linear map of r, from whichever side it enters
            h, c = self.reader(torch.cat([z, r], -1).flatten(0, 1), (h.flatten(0, 1), c))
            # h_k = h^_k + f'(x)
            h = h.view_as(z) + z
        return h


def _unit(z: Tensor) -> Tensor:
    """z / |z| along the last dimension; of a zero vector zero, with gradient zero."""
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z / length.masked_fill(length == 0, math.inf)
