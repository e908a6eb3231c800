"""Transformer neural processes: support examples and queries as tokens that look at the support examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.mapping import run
from metabook.nn.attention import TransformerBlock
from metabook.nn.set_encoder import pairs
from metabook.predictive import FLOOR, finite, normal


class TransformerNP(MetaLearner):
    """A transformer whose tokens are examples: all of them, queries too, look at the support examples in every layer.

    Nguyen, Grover (2022), arXiv:2207.04179, sec. 3.2: the diagonal variant, TNP-D.
    State: the support tokens before each layer, a tuple of [B, S, D]. Queries read them and change nothing in them.
    Chapter: generative.
    Differs: a flag beside input and target says which targets are hidden; root-mean-square norms, before the layers;
        the loss is that of the queries alone.

    embed: from input, target (0 where hidden) and flag, [B, S, X + Dy + 1], to a token, [B, S, D]. blocks: the layers.
    decoder: from a token to mean and raw standard deviation, [B, Q, 2 Dy]. floor: the least standard deviation.

    Raises ValueError for a likelihood other than Regression or no blocks, TypeError or ValueError for a floor not
        above 0.
    """

    def __init__(
        self,
        embed: nn.Module,
        blocks: Sequence[TransformerBlock],
        decoder: nn.Module,
        likelihood: Regression,
        *,
        floor: float = FLOOR,
    ) -> None:
        if not isinstance(likelihood, Regression):
            raise ValueError(f"likelihood: {likelihood!r} given; predictions are Normal, Regression() is needed")
        if not blocks:
            raise ValueError("blocks: none given; at least one is needed")
        super().__init__(likelihood)
        self.embed, self.blocks, self.decoder = embed, nn.ModuleList(blocks), decoder
        self.floor = check_positive("floor", floor)

    def adapt(self, support: Examples) -> tuple[Tensor, ...]:
        """The support tokens before each layer."""
        known = pairs(support)
        tokens = [run(self.embed, torch.cat([known, torch.ones_like(known[..., :1])], -1))]
        for block in self.blocks[:-1]:
            tokens.append(block(tokens[-1], tokens[-1]))
        return tuple(tokens)

    def predict(self, state: tuple[Tensor, ...], query_x: Tensor) -> Distribution:
        """Normal with learned standard deviation; batch shape [B, Q]."""
        return normal(finite(self._outputs(state, query_x)), self.floor)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats."""
        outputs = self._outputs(self.adapt(batch.support), batch.query.x)
        return -normal(outputs, self.floor).log_prob(batch.query.y).mean()

    def _outputs(self, state: tuple[Tensor, ...], query_x: Tensor) -> Tensor:
        hidden = query_x.new_zeros(*query_x.shape[:2], self.likelihood.size + 1)  # no target, flag 0
        x = run(self.embed, torch.cat([query_x.flatten(2), hidden], -1))
        for block, memory in zip(self.blocks, state, strict=True):
            x = block(x, memory)
        return run(self.decoder, x)
