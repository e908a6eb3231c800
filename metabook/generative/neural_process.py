"""Neural processes: a latent variable for each task, so that whole functions can be drawn."""

from __future__ import annotations

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
from metabook.nn.set_encoder import LatentEncoder, beside
from metabook.predictive import FLOOR, finite, normal


class NeuralProcess(MetaLearner):
    """A neural process: infer a latent variable from the support set, decode draws of it at the queries.

    Garnelo et al. (2018), arXiv:1807.01622, sec. 2.
    State: the belief q(z | support), ``Gaussian`` with mean and sd [B, Z].
    Chapter: generative.
    Differs: the loss fits the query set alone, given z from support and query set; the same draws of noise serve all
        tasks of a call of ``meta_loss``. They come from torch's global generator, which ``train`` seeds. Those of
        predictions are fixed by ``seed`` when the learner is made: the same state gives the same L functions.

    latent: from a set of examples to the belief. decoder: from input and z, [B, Q, X + Z], to mean and raw standard
        deviation, [B, Q, 2 Dy]. samples: L of a prediction. draws: those of the loss. floor: the least standard
        deviation of a target given z.

    Raises ValueError for a likelihood other than Regression, TypeError or ValueError for counts or a floor too small.
    """

    points: Tensor

    def __init__(
        self,
        latent: LatentEncoder,
        decoder: nn.Module,
        likelihood: Regression,
        *,
        samples: int = 32,
        draws: int = 4,
        floor: float = FLOOR,
        seed: int = 0,
    ) -> None:
        if not isinstance(likelihood, Regression):
            raise ValueError(f"likelihood: {likelihood!r} given; predictions are Normal, Regression() is needed")
        super().__init__(likelihood)
        self.latent, self.decoder = latent, decoder
        self.draws, self.floor = check_count("draws", draws), check_positive("floor", floor)
        noise = torch.randn(
            check_count("samples", samples), latent.size, generator=make_generator(torch.device("cpu"), seed)
        )
        self.register_buffer("points", noise, persistent=False)  # [L, Z]

    def adapt(self, support: Examples) -> Gaussian:
        """The belief about z after the support set."""
        return self.belief(support)

    def predict(self, state: Gaussian, query_x: Tensor) -> Distribution:
        """L functions, one for each draw of z: Normals of batch shape [L, B, Q]."""
        return normal(finite(self._outputs(state, state.at(self.points), query_x)), self.floor)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Minus the ELBO in nats per query target."""
        noise = torch.randn(self.draws, self.latent.size).to(batch.query.y)
        return -elbo(self, batch, noise).mean() / batch.query.y.shape[1]

    def belief(self, examples: Examples) -> Gaussian:
        """q(z | examples), for any set of examples."""
        return self.latent(examples)

    def decode(self, state: Gaussian, z: Tensor, query_x: Tensor) -> Distribution:
        """p(y | x, z), batch shape [L, B, Q]. z: [L, B, Z]; the state has told it all it knows."""
        return normal(self._outputs(state, z, query_x), self.floor)

    def _outputs(self, state: Gaussian, z: Tensor, query_x: Tensor) -> Tensor:
        x = query_x.expand(len(z), *query_x.shape).flatten(0, 1)  # [L B, Q, *X]
        # y ~ N(mu(x, z), sigma(x, z)^2)
        outputs = run(self.decoder, beside(x, z.flatten(0, 1)))
        return outputs.unflatten(0, z.shape[:2])
