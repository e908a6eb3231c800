"""Latent embedding optimisation: generate a classifier's weights from a code, and adapt the code."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive, check_weight
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.nn import Linear, PairMeans


class Generated(NamedTuple):
    """The classifier of each task, where it came from, and what it cost."""

    weights: Tensor  #: w, one row a class, after all steps, [B, N, D]
    start: Tensor  #: z, the codes before the latent steps, [B, N, Z]
    codes: Tensor  #: z', the codes after them, [B, N, Z]
    kl: Tensor  #: KL(q(z | support) || N(0, I)) in nats, mean over classes and dimensions, [B]


class LEO(MetaLearner):
    """LEO: a few numbers a class generate its weights; gradient steps move these numbers, not the weights.

    Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero, Hadsell (2019), arXiv:1807.05960, sec. 2.3, alg. 1.
    State: ``Generated``: weights [B, N, D]; codes before and after, [B, N, Z]; kl [B].
    Chapter: generative.
    Differs: the codes and weights are drawn in ``meta_loss`` alone, one draw of the noise for all tasks of a batch and
        all steps; ``adapt`` takes the means (the authors' code does so in evaluation). The inner loss is a mean over
        the support set, the paper's a sum. As in the authors' code a rate is learned for each dimension, and KL and
        penalty are means over classes and dimensions, so published weights keep their meaning; log standard deviations
        are exact here, clipped there. No dropout of the embeddings, and no L2 penalty (theirs weighs less than 1e-8).

    net: the embedding x -> [B, S, features]; ``Pixels()`` for inputs that are embeddings. It is trained along if it has
        parameters; the paper's are fixed.
    latents: Z. hidden: units of the two hidden layers of the relation network.
    inner_lr, inner_steps: first rate, and number, of the steps in the space of codes.
    finetune_lr, finetune_steps: the same for the steps on the weights that follow.
    kl_weight, encoder_penalty, orthogonality: beta, gamma, lambda_2 of the paper.

    Every class needs at least one support example (``check_episode`` looks once a run).
    Raises TypeError or ValueError for a likelihood without classes, counts below 1, steps or weights below 0, first
    rates that are not above 0, and layers that keep running statistics.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Classification,
        *,
        features: int,
        latents: int = 64,
        hidden: int = 128,
        inner_lr: float = 1.0,
        inner_steps: int = 5,
        finetune_lr: float = 1e-3,
        finetune_steps: int = 5,
        kl_weight: float = 1e-3,
        encoder_penalty: float = 1e-9,
        orthogonality: float = 1e-3,
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; LEO generates classes, Classification(n_way)")
        super().__init__(likelihood)
        d, z = check_count("features", features), check_count("latents", latents)
        self.net = without_running_statistics(net)
        self.encoder = Linear(d, z, bias=False)
        self.relation = PairMeans(z, 2 * z, hidden=(check_count("hidden", hidden), hidden))
        self.decoder = Linear(z, 2 * d, bias=False)
        with torch.no_grad():  # means orthogonal, log standard deviations 0: no penalty at the start while Z <= D
            nn.init.orthogonal_(self.decoder.weight[:d])
            self.decoder.weight[d:] = 0
        self.inner_lr = nn.Parameter(torch.full((z,), check_positive("inner_lr", inner_lr)))
        self.finetune_lr = nn.Parameter(torch.full((d,), check_positive("finetune_lr", finetune_lr)))
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.finetune_steps = check_count("finetune_steps", finetune_steps, least=0)
        self.kl_weight = check_weight("kl_weight", kl_weight)
        self.encoder_penalty = check_weight("encoder_penalty", encoder_penalty)
        self.orthogonality = check_weight("orthogonality", orthogonality)

    def adapt(self, support: Examples) -> Generated:
        """The classifier after both kinds of steps, from the means of codes and weights."""
        none = support.x.new_zeros(())
        return self._adapt(support, none, none)

    def predict(self, state: Generated, query_x: Tensor) -> Distribution:
        """Softmax of w_n . x; batch shape [B, Q]."""
        return self.likelihood.distribution(run(self.net, query_x) @ state.weights.mT)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Query loss + beta KL + gamma |stopgrad(z') - z|^2, mean over tasks, + lambda_2 ``non_orthogonality``."""
        n, z = self.likelihood.size, self.encoder.out_features
        of_codes, of_weights = (torch.randn(1, n, k).to(batch.support.x) for k in (z, self.encoder.in_features))
        state = self._adapt(batch.support, of_codes, of_weights)
        losses = self._losses(state.weights, run(self.net, batch.query.x), batch.query.y)
        # gamma |stopgrad(z') - z|^2: moves the encoder towards where the steps end, and nothing else    (sec. 2.3.4)
        penalty = (state.codes.detach() - state.start).square().mean((1, 2))
        losses = losses + self.kl_weight * state.kl + self.encoder_penalty * penalty
        return losses.mean() + self.orthogonality * self.non_orthogonality()

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of each class's code, [B, N, Z], from embeddings x [B, S, D]."""
        # mu_n, log sigma_n = 1/(N K^2) sum over k of class n, over all partners, of g_r(g_e(x_n^k), g_e(x_m^j))
        member = F.one_hot(y, self.likelihood.size).to(x.dtype)  # [B, S, N]
        relations = self.relation(self.encoder(x))  # [B, S, 2 Z]
        mean, log_std = (member.mT @ relations / member.sum(1).unsqueeze(-1)).chunk(2, -1)
        return mean, log_std

    def decode(self, z: Tensor, noise: Tensor) -> Tensor:
        """The weights of each class, [B, N, D]: w_n ~ N(mu(z_n), diag sigma(z_n)^2); noise 0 gives the mean."""
        mean, log_std = self.decoder(z).chunk(2, -1)
        # as in the authors' code, an output of 0 means the standard deviation of Glorot's first weights
        glorot = math.sqrt(2 / (self.likelihood.size + self.encoder.in_features))
        return mean + glorot * log_std.exp() * noise

    def non_orthogonality(self) -> Tensor:
        """Mean square of C - I, a scalar; C holds the cosines between the decoder's rows, one row a latent."""
        rows = F.normalize(self.decoder.weight.mT, dim=1)  # [Z, 2 D]
        identity = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        return (rows @ rows.mT - identity).square().mean()

    def _adapt(self, support: Examples, of_codes: Tensor, of_weights: Tensor) -> Generated:
        x, y = run(self.net, support.x), support.y
        mean, log_std = self.encode(x, y)
        # KL(N(mu, sigma^2) || N(0, 1)) = (sigma^2 + mu^2 - 1) / 2 - log sigma
        kl = ((2 * log_std).exp() + mean.square() - 1) / 2 - log_std
        start = mean + log_std.exp() * of_codes
        # z' = z - alpha grad_z L(w(z))
        codes = descend(
            lambda phi: self._losses(self.decode(phi["z"], of_weights), x, y),
            {"z": start},
            lr={"z": self.inner_lr},
            steps=self.inner_steps,
        )["z"]
        # w' = w - alpha' grad_w L(w)
        weights = descend(
            lambda phi: self._losses(phi["w"], x, y),
            {"w": self.decode(codes, of_weights)},
            lr={"w": self.finetune_lr},
            steps=self.finetune_steps,
        )["w"]
        return Generated(weights, start, codes, kl.mean((1, 2)))

    def _losses(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        # L = -w_y . x + log sum_j exp(w_j . x), mean over the examples
        return self.likelihood.loss(x @ weights.mT, y)
