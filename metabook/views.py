"""Any classifier asked several times, each time about slightly changed copies of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from metabook.checks import check_count
from metabook.device import make_generator
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification

Change = Callable[[Tensor, torch.Generator], Tensor]


def views_of(x: Tensor, change: Change, copies: int, seed: int) -> Iterator[Tensor]:
    """x [B, S, C, H, W] as it is, then ``copies - 1`` changed copies of it; the draws are fixed by ``seed``."""
    yield x
    generator = make_generator(x.device, seed)
    for _ in range(copies - 1):
        yield change(x.flatten(0, 1), generator).view(x.shape)


def logits_of(prediction: Distribution) -> Tensor:
    """Normalised log-probabilities [B, Q, N]; TypeError for a prediction that is not Categorical."""
    if not isinstance(prediction, Categorical):
        raise TypeError(f"learner: predictions of type {type(prediction).__name__} given; Categorical is allowed")
    return prediction.logits


class Views(MetaLearner):
    """Average the log-probabilities over copies of the task in which every image is changed a little.

    Krizhevsky, Sutskever, Hinton (2012), "ImageNet classification with deep convolutional neural networks", sec. 4.1,
    average the predictions for several crops of an image; here the support images are changed too.
    State: the wrapped learner's states, one for each copy.
    Chapter: metric.
    Differs: log-probabilities are averaged, a geometric mean, not probabilities.

    learner: any classifier. change: a function of images [n, C, H, W] and a generator, such as ``Distort``. copies: how
        often; the first copy is the task as it is. The draws are fixed by ``seed``, so the same task gives the same
        answer. Only predictions change; ``meta_loss`` is the wrapped learner's own. It takes ``copies`` times as long.

    Raises TypeError or ValueError for a learner of something else than classes, or copies below 1.
    """

    def __init__(self, learner: MetaLearner, change: Change, *, copies: int = 16, seed: int = 0) -> None:
        if not isinstance(learner.likelihood, Classification):
            raise ValueError(f"learner: {learner.likelihood!r} given; views are averaged for classes only")
        super().__init__(learner.likelihood)
        self.learner, self.change = learner, change
        self.copies, self.seed = check_count("copies", copies), check_count("seed", seed, least=0)
        self.ordered, self.first_order, self.one_by_one = learner.ordered, learner.first_order, learner.one_by_one

    def adapt(self, support: Examples) -> tuple[Any, ...]:
        """The wrapped learner's state for each copy of the support set."""
        views = views_of(support.x, self.change, self.copies, self.seed)
        return tuple(self.learner.adapt(Examples(x, support.y)) for x in views)

    def predict(self, state: tuple[Any, ...], query_x: Tensor) -> Distribution:
        """The mean of the log-probabilities over the copies, normalised; batch shape [B, Q]."""
        views = views_of(query_x, self.change, self.copies, self.seed + 1)
        logits = [logits_of(self.learner.predict(s, x)) for s, x in zip(state, views, strict=True)]
        return Categorical(logits=torch.stack(logits).mean(0), validate_args=False)

    def meta_loss(self, batch: Episode) -> Tensor:
        """The wrapped learner's."""
        return self.learner.meta_loss(batch)
