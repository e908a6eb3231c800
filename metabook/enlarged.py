"""A support set made larger by changed copies of its images, and the nearest image as a classifier."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from metabook.checks import check_count
from metabook.device import make_generator
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification

Change = Callable[[Tensor, torch.Generator], Tensor]


def enlarge(support: Examples, copies: list[Tensor]) -> Examples:
    """The support set followed by its M copies, each ``[B, S, *X]`` in the same order: ``[B, (1 + M) S, *X]``."""
    return Examples(torch.cat([support.x, *copies], 1), support.y.repeat(1, 1 + len(copies)))


def nearest_logits(examples: Examples, query_x: Tensor, way: int) -> Tensor:
    """Minus the squared distance of each query to the nearest example of each class, [B, Q, N].

    examples: x ``[B, S, *X]``, y [B, S]; query_x: ``[B, Q, *X]``. A class without examples gets -inf.
    """
    x, q = examples.x.flatten(2), query_x.flatten(2)
    # |q - x|^2 = |q|^2 - 2 q.x + |x|^2
    d = q.square().sum(-1, keepdim=True) - 2 * q @ x.mT + x.square().sum(-1).unsqueeze(1)  # [B, Q, S]
    other = [(examples.y != k).unsqueeze(1) for k in range(way)]
    return -torch.stack([d.masked_fill(mask, float("inf")).amin(-1) for mask in other], -1)


class Enlarged(MetaLearner):
    """The nearest of the support images and of changed copies of them: augmentation, without anything learned.

    State: the enlarged support set, x ``[B, (1 + M) S, *X]`` and y.
    Chapter: generative, as the baseline of generated copies.
    Differs: it is nobody's system, but what a generator of copies must be compared with.

    change: a function of images [n, C, H, W] and a generator, such as ``Distort``. copies: M, of each support image; 0
        leaves the nearest support image. The draws are fixed by ``seed``.

    Raises ValueError for a likelihood without classes, TypeError or ValueError for copies below 0.
    """

    ordered = True  # each image has draws of its own

    def __init__(self, change: Change, likelihood: Classification, *, copies: int = 10, seed: int = 0) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; copies are classified, Classification(n_way)")
        super().__init__(likelihood)
        self.change, self.copies = change, check_count("copies", copies, least=0)
        self.seed = check_count("seed", seed, least=0)

    def adapt(self, support: Examples) -> Examples:
        """The support set and ``copies`` changed copies of it."""
        generator = make_generator(support.x.device, self.seed)
        images = support.x.flatten(0, 1)
        copies = [self.change(images, generator).view(support.x.shape) for _ in range(self.copies)]
        return enlarge(support, copies)

    def predict(self, state: Examples, query_x: Tensor) -> Distribution:
        """Softmax over minus the squared distance to the nearest image of each class; batch shape [B, Q]."""
        return self.likelihood.distribution(nearest_logits(state, query_x, self.likelihood.size))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries; it has no parameters to train."""
        logits = nearest_logits(self.adapt(batch.support), batch.query.x, self.likelihood.size)
        return self.likelihood.loss(logits, batch.query.y).mean()
