"""Attentive conditional neural processes: every query takes its own mean of the codes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.mapping import run
from metabook.nn.attention import MultiHead
from metabook.nn.set_encoder import beside, pairs
from metabook.predictive import FLOOR, finite, normal


class Memory(NamedTuple):
    """Where the support examples are, and what they say."""

    keys: Tensor  #: [B, S, D]
    values: Tensor  #: [B, S, D]


class AttentiveCNP(MetaLearner):
    """A conditional neural process whose mean is weighted by attention, for each query anew.

    Kim et al. (2019), arXiv:1901.05761, sec. 3, without the latent path (``AttentiveNeuralProcess`` has both).
    State: keys and values of the support examples, ``Memory`` of [B, S, D] each.
    Chapter: generative.
    Differs: no self-attention among the support examples.

    encoder: from input and target, [B, S, X + Dy], to a value, [B, S, D]. place: from input, [B, S, X], to a key,
        [B, S, D], and from a query's input to what it looks for. attention: of width D.
    decoder: from input and code, [B, Q, X + D], to mean and raw standard deviation, [B, Q, 2 Dy].
    floor: the least standard deviation of a prediction.

    Raises ValueError for a likelihood other than Regression, TypeError or ValueError for a floor not above 0.
    """

    def __init__(
        self,
        encoder: nn.Module,
        place: nn.Module,
        attention: MultiHead,
        decoder: nn.Module,
        likelihood: Regression,
        *,
        floor: float = FLOOR,
    ) -> None:
        if not isinstance(likelihood, Regression):
            raise ValueError(f"likelihood: {likelihood!r} given; predictions are Normal, Regression() is needed")
        super().__init__(likelihood)
        self.encoder, self.place, self.attention, self.decoder = encoder, place, attention, decoder
        self.floor = check_positive("floor", floor)

    def adapt(self, support: Examples) -> Memory:
        """Keys and values of the support examples."""
        return Memory(run(self.place, support.x), run(self.encoder, pairs(support)))

    def predict(self, state: Memory, query_x: Tensor) -> Distribution:
        """Normal with learned standard deviation; batch shape [B, Q]."""
        return normal(finite(self._outputs(state, query_x)), self.floor)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats."""
        outputs = self._outputs(self.adapt(batch.support), batch.query.x)
        return -normal(outputs, self.floor).log_prob(batch.query.y).mean()

    def _outputs(self, memory: Memory, query_x: Tensor) -> Tensor:
        # r(x) = sum over s of w_s(x) h(x_s, y_s), in every head; a CNP has w_s = 1/S       (sec. 3)
        r = self.attention(run(self.place, query_x), *memory)
        return run(self.decoder, beside(query_x, r))
