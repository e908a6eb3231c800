"""A generator of new drawings of a class from one drawing, as a variational autoencoder, a GAN, or both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call

from metabook.checks import check_count, check_weight
from metabook.device import make_generator
from metabook.enlarged import enlarge, nearest_logits
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification

SCALES = (1, 2, 4)  #: pixels a side of the squares over which drawings are averaged before they are compared


class OneShotGenerator(MetaLearner):
    """Learn how drawings of one class differ, over many classes; then draw a new class from one example.

    The task is that of DAGAN: Antoniou, Storkey, Edwards (2017), arXiv:1711.04340, sec. 3.
    State: the support set and M generated drawings for each of its images, x [B, (1 + M) S, 1, H, W] and y.
    Chapter: generative.
    Differs: DAGAN is a Wasserstein GAN with a UNet and ResNet generator. Here the generator bends its source, and
        training has up to two terms. The encoder's is the bound of a conditional variational autoencoder (Sohn, Lee,
        Yan 2015); the critic's is DAGAN's idea, a critic of pairs, with the non-saturating loss of Goodfellow et al.
        (2014). Both together as in Larsen et al. (2016), arXiv:1512.09300.

    decoder: (sources [B, S, 1, H, W], codes [B, S, L]) -> drawings, such as ``metabook.nn.Deform``. code: L.
    encoder: (source, target) -> mean and log std of the code, [B, S, 2 L]; None for a GAN.
    critic: (source, drawing) -> [B, S, 1], the log odds that the drawing is a person's; None for an autoencoder.
    copies: M. The codes are fixed by ``seed``, the same for every support image. beta, game: weights of the KL and of
        the game. A query's source is the first support image of its class.

    Raises ValueError for neither encoder nor critic, a likelihood without classes, or a weight below 0.
    """

    def __init__(
        self,
        decoder: nn.Module,
        likelihood: Classification,
        *,
        code: int = 16,
        encoder: nn.Module | None = None,
        critic: nn.Module | None = None,
        copies: int = 10,
        beta: float = 1.0,
        game: float = 10.0,
        seed: int = 0,
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; copies are classified, Classification(n_way)")
        if encoder is None and critic is None:
            raise ValueError("encoder, critic: None given for both; at least one of them trains the decoder")
        super().__init__(likelihood)
        self.decoder, self.encoder, self.critic = decoder, encoder, critic
        self.code = check_count("code", code)
        self.copies, self.seed = check_count("copies", copies, least=0), check_count("seed", seed, least=0)
        self.beta, self.game = check_weight("beta", beta), check_weight("game", game)
        self.first_order = critic is not None  # each player's gradient leaves out the other's loss

    def adapt(self, support: Examples) -> Examples:
        """The support set and ``copies`` drawings of each of its images."""
        return enlarge(support, list(self.draw(support.x, self.copies)))

    def predict(self, state: Examples, query_x: Tensor) -> Distribution:
        """Softmax over minus the squared distance to the nearest drawing of each class; batch shape [B, Q]."""
        return self.likelihood.distribution(nearest_logits(state, query_x, self.likelihood.size))

    def draw(self, sources: Tensor, count: int) -> Tensor:
        """``count`` drawings of every source [B, S, 1, H, W]: [count, B, S, 1, H, W]; the first ones are fixed too."""
        codes = torch.randn(count, self.code, generator=make_generator(torch.device("cpu"), self.seed))
        drawn = [self.decoder(sources, z.to(sources).expand(*sources.shape[:2], -1)) for z in codes]
        return torch.stack(drawn) if drawn else sources.new_empty(0, *sources.shape)

    def meta_loss(self, batch: Episode) -> Tensor:
        """The bound and the game, each if it has its network; a mean over the queries, each with its source."""
        first = (batch.support.y.unsqueeze(1) == batch.query.y.unsqueeze(2)).byte().argmax(2)  # [B, Q]
        source = torch.stack([x[i] for x, i in zip(batch.support.x, first, strict=True)])
        loss = source.new_zeros(())
        if self.encoder is not None:
            loss = loss + self._bound(self.encoder, source, batch.query.x)
        return loss if self.critic is None else loss + self.game * self._game(self.critic, source, batch.query.x)

    def _bound(self, encoder: nn.Module, source: Tensor, target: Tensor) -> Tensor:
        """beta KL(q(z | source, target) || N(0, I)) - E_q log p(target | source, z) up to a constant, in nats."""
        mean, log_std = encoder(source, target).chunk(2, -1)
        drawn = self.decoder(source, mean + log_std.exp() * _noise(mean))
        # KL = sum over the code of (mean^2 + std^2 - 1) / 2 - log std
        kl = ((mean.square() + (2 * log_std).exp() - 1) / 2 - log_std).sum(-1)
        return (squared_error(drawn, target) + self.beta * kl).mean()

    def _game(self, critic: nn.Module, source: Tensor, target: Tensor) -> Tensor:
        """Loss of the critic and loss of the decoder, each with the other's parameters held constant."""
        fake = self.decoder(source, _noise(source.new_empty(*source.shape[:2], self.code)))
        # -log D(source, target) - log(1 - D(source, fake))
        judged = F.softplus(-critic(source, target)) + F.softplus(critic(source, fake.detach()))
        # -log D(source, fake), for the decoder alone
        frozen = {name: p.detach() for name, p in critic.named_parameters()}
        return (judged + F.softplus(-functional_call(critic, frozen, (source, fake)))).mean()


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Squared error of drawings averaged over squares of 1, 2 and 4 pixels, each times its area, [B, S].

    Minus the logarithm of a Gaussian density up to a constant: with A_k the averages over squares of k pixels, its
    precision matrix is 2 sum_k k^2 A_k^T A_k. Strokes that are nearly in place are nearly right.
    """
    difference = (a - b).flatten(0, 1)
    terms = [k**2 * F.avg_pool2d(difference, k).square().flatten(1).sum(1) for k in SCALES]
    return torch.stack(terms).sum(0).view(a.shape[:2])


def _noise(like: Tensor) -> Tensor:
    """Standard normal [1, S, L], the same in every task, as wide as ``like`` [B, S, L]."""
    return torch.randn(1, *like.shape[1:], dtype=like.dtype, device=like.device).expand_as(like)
