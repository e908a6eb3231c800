"""What a distribution over tasks must offer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from metabook.episode import Episode
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood


@runtime_checkable
class Tasks(Protocol):
    """A distribution over tasks p(T). It makes episodes and owns the score.

    Attributes
        likelihood: the kind of target, e.g. ``Classification(5)``.
        x_shape: shape of one input, e.g. ``(1,)`` or ``(1, 28, 28)``.
    """

    @property
    def likelihood(self) -> Likelihood:
        """The kind of target."""
        ...

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks, as tensors on the generator's device."""
        ...

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """Score name -> one number per task, [B]."""
        ...


def score_predictions(learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
    """The score of supervised tasks: adapt on the support set, compare the predictions with the query targets.

    Returns score name -> [B]; the names come from the learner's likelihood (accuracy and nll, or mse and nll).
    """
    return learner.likelihood.scores(learner(batch), batch.query.y)
