"""Conditional neural processes: the support set as the mean of its codes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.mapping import run
from metabook.nn.set_encoder import beside, pairs
from metabook.predictive import FLOOR, finite, normal


class CNP(MetaLearner):
    """A conditional neural process: encode every support example, take the mean, decode it at each query.

    Garnelo et al. (2018), arXiv:1807.01613, sec. 2.2-2.3.
    State: the mean code of the support set, [B, D].
    Chapter: generative.
    Differs: the loss is the likelihood of the query set alone; the paper's adds that of the support set.

    encoder: from input and target, [B, S, X + Dy], to a code, [B, S, D].
    decoder: from input and code, [B, Q, X + D], to mean and raw standard deviation, [B, Q, 2 Dy].
    floor: the least standard deviation of a prediction.

    Raises ValueError for a likelihood other than Regression, TypeError or ValueError for a floor not above 0.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: Regression, *, floor: float = FLOOR) -> None:
        if not isinstance(likelihood, Regression):
            raise ValueError(f"likelihood: {likelihood!r} given; predictions are Normal, Regression() is needed")
        super().__init__(likelihood)
        self.encoder, self.decoder = encoder, decoder
        self.floor = check_positive("floor", floor)

    def adapt(self, support: Examples) -> Tensor:
        """The mean code r, [B, D]."""
        # r = 1/S sum over s of h(x_s, y_s)                                               (sec. 2.2)
        return run(self.encoder, pairs(support)).mean(1)

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """Normal with learned standard deviation; batch shape [B, Q]."""
        return normal(finite(self._outputs(state, query_x)), self.floor)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats (sec. 2.3)."""
        outputs = self._outputs(self.adapt(batch.support), batch.query.x)
        return -normal(outputs, self.floor).log_prob(batch.query.y).mean()

    def _outputs(self, r: Tensor, query_x: Tensor) -> Tensor:
        # mu, sigma = g(x, r)                                                             (sec. 2.2)
        return run(self.decoder, beside(query_x, r))
