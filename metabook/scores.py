"""Scores of predictions that say how sure they are, by name: for records, and for tasks that have other scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from metabook.checks import check_choice
from metabook.coverage import covered
from metabook.episode import Episode
from metabook.latent import LatentLearner, importance_weighted
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.tasks.protocol import Tasks


@runtime_checkable
class KnowsJoint(Protocol):
    """A learner whose joint density of all query targets can be computed."""

    def joint(self, batch: Episode) -> Tensor:
        """log p(y_T | x_T, C) in nats, [B]."""
        ...


def log_likelihood(learner: MetaLearner, batch: Episode, predictions: Distribution) -> Tensor:
    """Mean log-density of *single* query targets, nats per target, [B]; latent samples are averaged for each target."""
    each = predictions.log_prob(batch.query.y)  # [B, Q] or [L, B, Q]
    if each.dim() == 3:
        each = each.logsumexp(0) - math.log(len(each))
    return each.mean(1)


def joint_log_likelihood(learner: MetaLearner, batch: Episode, predictions: Distribution) -> Tensor:
    """Log-density of all query targets of a task *together*, nats per target, [B].

    Exact where a learner can compute it (``KnowsJoint``); of a learner with a latent variable the importance-weighted
    bound (``metabook.latent``); of all others the sum over single targets, which is what they claim.
    """
    if isinstance(learner, KnowsJoint):
        return learner.joint(batch) / batch.query.y.shape[1]
    if isinstance(learner, LatentLearner):
        return importance_weighted(learner, batch) / batch.query.y.shape[1]
    return learner.likelihood.scores(predictions, batch.query.y)["nll"].neg()


def coverage(learner: MetaLearner, batch: Episode, predictions: Distribution) -> Tensor:
    """The part of the query targets inside their 90 % intervals, [B]; 0.9 on average if predictions are right."""
    return covered(predictions, batch.query.y)


#: (learner, episode, its predictions) -> one number per task, [B]
ScoreOf = Callable[[MetaLearner, Episode, Distribution], Tensor]
SCORES: dict[str, ScoreOf] = {
    "log-likelihood": log_likelihood,
    "joint log-likelihood": joint_log_likelihood,
    "coverage": coverage,
}


class ScoredBy:
    """The same distribution over tasks with other scores, from one prediction of each task.

    names: of scores in ``known``.

    Raises ValueError for an unknown score, and for none.
    """

    def __init__(self, tasks: Tasks, names: Sequence[str], *, known: Mapping[str, ScoreOf] = SCORES) -> None:
        if not names:
            raise ValueError(f"names: none given; allowed are {', '.join(known)}")
        self.tasks, self.of = tasks, {check_choice("score", name, known): known[name] for name in names}

    @property
    def likelihood(self) -> Likelihood:
        """The kind of target."""
        return self.tasks.likelihood

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.tasks.x_shape

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks, as the tasks themselves draw them."""
        return self.tasks.sample(n, generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """The scores of each task, [B]."""
        predictions = learner(batch)
        return {name: score(learner, batch, predictions) for name, score in self.of.items()}
