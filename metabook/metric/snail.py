"""SNAIL: the support set as a sequence that a causal network reads, with the query at its end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.nn.layers import Linear
from metabook.nn.temporal import AttentionBlock, Causal, CausalChain, tc_block


class SNAIL(MetaLearner):
    """SNAIL: read (x_1, y_1), ..., (x_S, y_S), (x, no label) with temporal convolutions and causal attention.

    Mishra, Rohaninejad, Chen, Abbeel (2018), arXiv:1707.03141, sec. 3, sec. 5.1 and app. A.
    State: the activations of every block at the support examples, one after the other, [B, S, C].
    Chapter: metric.
    Differs: dilations 1, 2, 4, ..., where the printed pseudo-code has 2, 4, 8, ...; keys and queries start equal;
        all tasks of a call of ``meta_loss`` get the same random order. The support set runs through the blocks once
        and each query continues it by itself, which is exact: no position sees a later one.

    The order of the support set matters. Sampled episodes are sorted by label, and a network that always sees label k
    at the same place can learn the place instead of the label. So ``meta_loss`` shuffles the support set, with a
    permutation from torch's global generator (of the episode's device), which ``train`` seeds. ``adapt`` takes the
    order as it comes.

    net: the embedding, from inputs to ``features`` features.
    max_shots: a TC block covers T = N * max_shots + 1 positions. Longer support sets work: it then reaches the last
        examples only, while attention reaches all.
    filters: of every dense block. attention: keys and values of each attention block, with a TC block between two.

    Raises TypeError or ValueError for a likelihood other than Classification, counts below 1, no attention block, and
    when called, for a network with another number of features.
    """

    ordered = True

    def __init__(
        self,
        net: nn.Module,
        likelihood: Classification,
        *,
        features: int = 64,
        max_shots: int = 5,
        filters: int = 128,
        attention: Sequence[tuple[int, int]] = ((64, 32), (256, 128), (512, 256)),
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; one-hot labels need classes, Classification(n_way)")
        super().__init__(likelihood)
        self.net, self.features = net, check_count("features", features)
        length = likelihood.size * check_count("max_shots", max_shots) + 1
        blocks: list[Causal] = []
        channels = features + likelihood.size
        for keys, values in attention:
            if blocks:
                blocks.append(tc_block(channels, length, filters))
                channels = blocks[-1].outputs
            blocks.append(AttentionBlock(channels, keys, values))
            channels = blocks[-1].outputs
        self.body = CausalChain(*blocks)
        self.head = Linear(channels, likelihood.size)  # the 1x1 convolution
        self.register_buffer("codes", torch.eye(likelihood.size), persistent=False)  # one-hot, row y for label y

    def adapt(self, support: Examples) -> Tensor:
        """The blocks' activations at the support examples in the given order, [B, S, C], their inputs first."""
        return self.body(torch.cat([self._embed(support.x), self.get_buffer("codes")[support.y]], -1))

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """Each query as the one example after the support set; batch shape [B, Q]."""
        return self.likelihood.distribution(self._logits(state, query_x))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean cross-entropy of the queries in nats, the support set in a random order."""
        x, y = batch.support
        order = torch.randperm(x.shape[1], device=x.device)  # one for all tasks
        state = self.adapt(Examples(x[:, order], y[:, order]))
        return self.likelihood.loss(self._logits(state, batch.query.x), batch.query.y).mean()

    def _logits(self, state: Tensor, query_x: Tensor) -> Tensor:
        z = self._embed(query_x)
        unlabelled = torch.cat([z, z.new_zeros(*z.shape[:2], self.likelihood.size)], -1)
        return self.head(self.body.after(state, unlabelled))

    def _embed(self, x: Tensor) -> Tensor:
        z = run(self.net, x)
        if z.shape[2:] != (self.features,):
            raise ValueError(f"net: outputs of shape {list(z.shape[2:])} given; features={self.features} is needed")
        return z
