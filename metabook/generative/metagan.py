"""MetaGAN: a few-shot classifier that must also tell real examples of the task from generated ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call

from metabook.checks import check_count, check_weight
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.nn import Discriminator


class MetaGAN(MetaLearner):
    """MetaGAN: a generator makes fakes for each task, and the classifier has one class more, for them.

    Zhang, Che, Ghahramani, Bengio, Song (2018), NeurIPS, sec. 3.
    State: prototypes of the real classes, [B, N, D], as in prototypical networks.
    Chapter: generative.
    Differs: the base learner is a prototypical network; the paper takes relation networks and MAML. Here the class
        *fake* is one more prototype and nothing else changes. All data are labelled: a task's queries are its real
        examples. One noise draw serves all tasks of a batch.

    The value of ``meta_loss`` is the sum of both players' losses. Its gradient is that of the discriminator's loss for
    the discriminator's parameters, and that of the generator's loss for the generator's.

    net: the embedding, from inputs to ``features`` numbers. generator: (support inputs [B, S, *X], noise [B, F, L]) ->
        fakes [B, F, *X], ``metabook.nn.TaskGenerator`` for example. noise: L.
    weight: of the game; 0 leaves a prototypical network.

    Raises ValueError for a likelihood without classes or a weight below 0.
    """

    first_order = True  # each player's gradient leaves out the other's loss, on purpose

    def __init__(
        self,
        net: nn.Module,
        generator: nn.Module,
        likelihood: Classification,
        *,
        features: int,
        noise: int = 16,
        weight: float = 1.0,
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; MetaGAN needs classes, Classification(n_way)")
        super().__init__(likelihood)
        self.discriminator = Discriminator(net, features)
        self.generator, self.noise = generator, check_count("noise", noise)
        self.weight = check_weight("weight", weight)

    def adapt(self, support: Examples) -> Tensor:
        """Prototypes [B, N, D]: the mean embedding of each class. The generator has no part in it."""
        z = run(self.discriminator.net, support.x)
        member = F.one_hot(support.y, self.likelihood.size).to(z.dtype)  # [B, S, N]
        return member.mT @ z / member.sum(1).unsqueeze(-1)

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """p_D(y = k | x, y <= N): the real classes alone; batch shape [B, Q]."""
        return self.likelihood.distribution(self.discriminator(state, query_x)[..., :-1])

    def fakes(self, support: Examples, count: int) -> Tensor:
        """``count`` generated inputs of each task, [B, count, *X]; the same noise in every task."""
        noise = torch.randn(1, count, self.noise, dtype=support.x.dtype, device=support.x.device)
        return self.generator(support.x, noise.expand(len(support.x), -1, -1))

    def meta_loss(self, batch: Episode) -> Tensor:
        """L_D + L_G, each with the other player's parameters held constant; as many fakes as queries."""
        state, (x, y) = self.adapt(batch.support), batch.query
        fakes = self.fakes(batch.support, x.shape[1])
        real, fake = self.discriminator(state, x), self.discriminator(state, fakes.detach())
        # -log p_D(y | x, y <= N)
        supervised = self.likelihood.loss(real[..., :-1], y).mean()
        # -log p_D(y <= N | x) - log p_D(N + 1 | x~)
        unsupervised = F.softplus(-real_odds(real)).mean() + F.softplus(real_odds(fake)).mean()
        # L_G = -log p_D(y <= N | x~), for the generator alone
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, frozen, (state.detach(), fakes))
        return supervised + self.weight * (unsupervised + F.softplus(-real_odds(fooled)).mean())


def real_odds(logits: Tensor) -> Tensor:
    """log of p_D(y <= N | x) / p_D(N + 1 | x), [B, Q], from logits [B, Q, N + 1]."""
    return logits[..., :-1].logsumexp(-1) - logits[..., -1]
