"""Any learner without transduction: each query is predicted by itself, beside the support set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner


class Beside(NamedTuple):
    """What adaptation leaves: the wrapped learner's state, and the support inputs that stand beside each query."""

    state: Any  #: of the wrapped learner, B leading in every leaf
    support_x: Tensor  #: [B, S, *X]


class OneByOne(MetaLearner):
    """Predict each query alone with the support set: batch statistics are then of the support set and that query.

    Nichol, Achiam, Schulman (2018), arXiv:1803.02999, sec. 6.1: the evaluation without transduction.
    State: the wrapped learner's state, and the support inputs [B, S, *X].
    Chapter: formalism.
    Differs: none. Only predictions change; ``meta_loss`` is the wrapped learner's own.

    learner: any learner whose predictions are Categorical or Normal. Without batch statistics nothing changes but the
        time: Q forward passes of S + 1 examples each.
    """

    one_by_one = True

    def __init__(self, learner: MetaLearner) -> None:
        super().__init__(learner.likelihood)
        self.learner = learner
        self.ordered = learner.ordered
        self.first_order = learner.first_order

    def adapt(self, support: Examples) -> Beside:
        """The wrapped learner's state, and the support inputs."""
        return Beside(self.learner.adapt(support), support.x)

    def predict(self, state: Beside, query_x: Tensor) -> Distribution:
        """The wrapped learner's prediction of each query as the last of S + 1 inputs; batch shape [B, Q].

        Raises TypeError if that prediction is neither Categorical nor Normal.
        """
        beside = [torch.cat([state.support_x, x], 1) for x in query_x.split(1, 1)]  # Q times [B, S + 1, *X]
        parts = [self.learner.predict(state.state, x) for x in beside]
        return _last(parts, len(parts[0].batch_shape) - 1)  # batch shape [..., B, S + 1]

    def meta_loss(self, batch: Episode) -> Tensor:
        """The wrapped learner's."""
        return self.learner.meta_loss(batch)


def _last(parts: Sequence[Distribution], place: int) -> Distribution:
    """The last query of each part: Q distributions with n queries in dimension ``place`` become one with Q."""

    def values(name: str) -> list[Any]:
        return [getattr(part, name) for part in parts]

    def join(name: str) -> Tensor:
        return torch.cat([v.narrow(place, v.shape[place] - 1, 1) for v in values(name)], place)

    first = parts[0]
    if isinstance(first, Independent):
        return Independent(_last(values("base_dist"), place), first.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(first, Categorical):
        return Categorical(logits=join("logits"), validate_args=False)
    if isinstance(first, Normal):
        return Normal(join("loc"), join("scale"), validate_args=False)
    raise TypeError(f"learner: predictions of type {type(first).__name__} given; Categorical and Normal are allowed")
