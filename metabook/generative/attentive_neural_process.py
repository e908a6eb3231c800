"""Attentive neural processes: attention says what the examples near a query say, a latent variable the rest."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.device import make_generator
from metabook.episode import Episode, Examples
from metabook.latent import Gaussian, elbo
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.mapping import run
from metabook.nn.attention import MultiHead
from metabook.nn.set_encoder import LatentEncoder, beside, pairs
from metabook.predictive import FLOOR, finite, normal


class LatentMemory(NamedTuple):
    """Where the support examples are, what they say, and what they say about the whole function."""

    keys: Tensor  #: [B, S, D]
    values: Tensor  #: [B, S, D]
    latent: Gaussian  #: mean and sd, [B, Z]


class AttentiveNeuralProcess(MetaLearner):
    """A neural process with two paths: attention to the support examples, and a latent variable.

    Kim et al. (2019), arXiv:1901.05761, eq. 3 and sec. 3.
    State: keys, values [B, S, D] and the belief q(z | support), ``LatentMemory``.
    Chapter: generative.
    Differs: no self-attention among the support examples; the same draws of noise serve all tasks of a call. Those of
        the loss come from torch's global generator, which ``train`` seeds; those of predictions are fixed by ``seed``.

    encoder: from input and target, [B, S, X + Dy], to a value, [B, S, D]. place: from input, [B, S, X], to a key,
        [B, S, D]. attention: of width D. latent: from a set of examples to the belief.
    decoder: from input, code and z, [B, Q, X + D + Z], to mean and raw standard deviation, [B, Q, 2 Dy].
    samples: L of a prediction. draws: those of the loss. floor: the least standard deviation of a target given z.

    Raises ValueError for a likelihood other than Regression, TypeError or ValueError for counts or a floor too small.
    """

    points: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        place: nn.Module,
        attention: MultiHead,
        latent: LatentEncoder,
        decoder: nn.Module,
        likelihood: Regression,
        *,
        samples: int = 32,
        draws: int = 1,
        floor: float = FLOOR,
        seed: int = 0,
    ) -> None:
        if not isinstance(likelihood, Regression):
            raise ValueError(f"likelihood: {likelihood!r} given; predictions are Normal, Regression() is needed")
        super().__init__(likelihood)
        self.encoder, self.place, self.attention = encoder, place, attention
        self.latent, self.decoder = latent, decoder
        self.draws, self.floor = check_count("draws", draws), check_positive("floor", floor)
        noise = torch.randn(
            check_count("samples", samples), latent.size, generator=make_generator(torch.device("cpu"), seed)
        )
        self.register_buffer("points", noise, persistent=False)  # [L, Z]

    def adapt(self, support: Examples) -> LatentMemory:
        """Keys, values and the belief about z after the support set."""
        return LatentMemory(run(self.place, support.x), run(self.encoder, pairs(support)), self.belief(support))

    def predict(self, state: LatentMemory, query_x: Tensor) -> Distribution:
        """L functions, one for each draw of z: Normals of batch shape [L, B, Q]."""
        return normal(finite(self._outputs(state, state.latent.at(self.points), query_x)), self.floor)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Minus the ELBO in nats per query target: eq. 3."""
        noise = torch.randn(self.draws, self.latent.size).to(batch.query.y)
        return -elbo(self, batch, noise).mean() / batch.query.y.shape[1]

    def belief(self, examples: Examples) -> Gaussian:
        """q(z | examples), for any set of examples."""
        return self.latent(examples)

    def decode(self, state: LatentMemory, z: Tensor, query_x: Tensor) -> Distribution:
        """p(y | x, r(x), z), batch shape [L, B, Q]. z: [L, B, Z]; r(x) comes from the support set alone."""
        return normal(self._outputs(state, z, query_x), self.floor)

    def _outputs(self, state: LatentMemory, z: Tensor, query_x: Tensor) -> Tensor:
        # r(x) = sum over s of w_s(x) h(x_s, y_s), in every head                            (sec. 3)
        r = self.attention(run(self.place, query_x), state.keys, state.values)
        known = beside(query_x, r)  # [B, Q, X + D]
        outputs = run(self.decoder, beside(known.expand(len(z), *known.shape).flatten(0, 1), z.flatten(0, 1)))
        return outputs.unflatten(0, z.shape[:2])
