"""Compare drawings as they agree best: every changed copy of one with every changed copy of the other."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from metabook.checks import check_count
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.views import Change, views_of


class Comparing(Protocol):
    """A learner that compares embeddings with prototypes, such as ``ProtoNet``."""

    likelihood: Likelihood

    def adapt(self, support: Examples) -> Tensor:
        """Prototypes [B, N, *F]."""

    def embed(self, x: Tensor) -> Tensor:
        """[B, S, *X] -> [B, S, *F]."""

    def compare(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """[B, Q, *F] and any number n of prototypes [B, n, *F] -> logits [B, Q, n]."""

    def meta_loss(self, batch: Episode) -> Tensor:
        """One number."""


class BestView(MetaLearner):
    """A prototypical network that sees a query as like a class as their most alike views are.

    Simard, LeCun, Denker (1993), "Efficient pattern recognition using a new transformation distance", sec. 2: the
    distance of two drawings is the smallest over changes of both.
    State: the prototypes of every copy of the support set, [B, copies * N, *F].
    Chapter: metric.
    Differs: the smallest over copies drawn at random, not over a tangent plane; distances are those of the network.

    learner: a prototypical network. change: a function of images [n, C, H, W] and a generator, such as ``Distort``.
    copies: how many views of each image; the first is the image as it is. ``copies`` squared pairs are compared, but
    each view is embedded once. The draws are fixed by ``seed``. ``meta_loss`` is the wrapped learner's own.

    Raises TypeError for another learner, TypeError or ValueError for copies below 1.
    """

    def __init__(self, learner: Comparing, change: Change, *, copies: int = 16, seed: int = 0) -> None:
        if not hasattr(learner, "compare"):
            raise TypeError(f"learner: {type(learner).__name__} given; the best view is that of a prototypical network")
        super().__init__(learner.likelihood)
        self.learner, self.change = learner, change
        self.copies, self.seed = check_count("copies", copies), check_count("seed", seed, least=0)

    def adapt(self, support: Examples) -> Tensor:
        """The prototypes of each copy of the support set, one copy after the other, [B, copies * N, *F]."""
        views = views_of(support.x, self.change, self.copies, self.seed)
        return torch.cat([self.learner.adapt(Examples(x, support.y)) for x in views], 1)

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """Softmax over the largest logit of all pairs of views; batch shape [B, Q]."""
        best: Tensor | None = None
        for x in views_of(query_x, self.change, self.copies, self.seed + 1):
            logits = self.learner.compare(self.learner.embed(x), state)  # [B, Q, copies * N]
            most = logits.unflatten(-1, (self.copies, self.likelihood.size)).amax(-2)
            best = most if best is None else torch.maximum(best, most)
        assert best is not None
        return self.learner.likelihood.distribution(best)

    def meta_loss(self, batch: Episode) -> Tensor:
        """The wrapped learner's."""
        return self.learner.meta_loss(batch)
