"""What networks are made of, as scores beside their accuracy: which operations a task got, and what a prediction costs.

The learner's network is a cell (``metabook.nn.CellNet``), whose choices are a task's own or the same for all.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution

from metabook.episode import Episode
from metabook.learner import MetaLearner
from metabook.nn import CellNet
from metabook.nn.architecture import Architecture
from metabook.nn.operations import IMAGE, UNITS
from metabook.scores import ScoreOf


def operation(learner: MetaLearner, batch: Episode, predictions: Distribution, *, name: str) -> Tensor:
    """How much of each task's cell is the operation ``name``: over its edges, as far as each is used, [B]."""
    net, choice = _chosen(learner, batch)
    if name not in net.choices:
        raise ValueError(f"score: chooses {name} given; the edges of the network have {', '.join(net.choices)}")
    part = choice.operations[..., net.choices.index(name)]  # [B, E]
    return (part * choice.inputs).sum(1) / choice.inputs.sum(1)


def multiply_adds(learner: MetaLearner, batch: Episode, predictions: Distribution) -> Tensor:
    """Multiply-adds of one prediction by each task's network, [B]; of a mixture every operation is carried out."""
    net, choice = _chosen(learner, batch)
    return net.cost_of_mixture(choice)


#: beside those of ``metabook.scores``, by the name that a recipe gives them; the predictions are not looked at
SCORES: dict[str, ScoreOf] = {
    **{f"chooses {name}": partial(operation, name=name) for name in dict.fromkeys((*UNITS, *IMAGE))},
    "multiply-adds": multiply_adds,
}


def _chosen(learner: MetaLearner, batch: Episode) -> tuple[CellNet, Architecture]:
    """The learner's cell, and the choices of each task: operations [B, E, O], inputs [B, E]."""
    net = getattr(learner, "net", None)
    if not isinstance(net, CellNet):
        raise ValueError(f"learner: {type(learner).__name__} given; its network is no cell, and has no choices")
    choice = getattr(learner.adapt(batch.support), "choice", None)
    if isinstance(choice, Architecture):
        return net, Architecture(*(part.detach() for part in choice))
    b = batch.batch_size
    return net, Architecture(*(torch.stack([part] * b) for part in (net.operations, net.inputs)))
