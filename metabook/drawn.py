"""How true and how varied the drawings are that a learner adds to its support set: scores beside its accuracy.

The learner's state is an enlarged support set (``metabook.enlarged``): the S support images, then their M copies. The
query images, real drawings of the same classes, are what the copies are measured by.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.distributions import Distribution

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.metric import ProtoNet
from metabook.scores import ScoreOf

JUDGE = "glyphs"  #: the pretrained prototypical network that looks at the copies


def quality(learner: MetaLearner, batch: Episode, predictions: Distribution) -> Tensor:
    """The part of the copies that a judge takes for their class, [B].

    The judge is a prototypical network that has seen neither the copies nor these classes; its prototypes are those of
    the query images.
    """
    copies, judge = _copies(learner, batch), _judge(batch.query.x.device, learner.likelihood.size)
    named = judge.compare(judge.embed(copies.x), judge.adapt(batch.query)).argmax(-1)
    return (named == copies.y).to(copies.x.dtype).mean(1)


def diversity(learner: MetaLearner, batch: Episode, predictions: Distribution) -> Tensor:
    """Mean distance in pixels of two copies of one image, as a part of that of two real drawings of one class, [B]."""
    return _ratio(learner, batch, lambda x: x.flatten(2))


def diversity_in_features(learner: MetaLearner, batch: Episode, predictions: Distribution) -> Tensor:
    """The same in the features of the judge, [B]."""
    return _ratio(learner, batch, lambda x: _judge(x.device, learner.likelihood.size).embed(x))


#: beside those of ``metabook.scores``, by the name that a recipe gives them; the predictions are not looked at
SCORES: dict[str, ScoreOf] = {
    "quality": quality,
    "diversity": diversity,
    "diversity in features": diversity_in_features,
}


def spread(x: Tensor, groups: Tensor) -> Tensor:
    """Mean Euclidean distance of two vectors of one group, [B]. x: [B, n, D]; groups: [B, n] int64.

    Raises ValueError if no two are of one group.
    """
    same = (groups.unsqueeze(1) == groups.unsqueeze(2)) & ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    pairs = same.flatten(1).sum(1)
    if not pairs.all():
        raise ValueError("groups: no two of one group given; diversity needs two copies, and two queries of a class")
    return (torch.cdist(x, x) * same).flatten(1).sum(1) / pairs


def _ratio(learner: MetaLearner, batch: Episode, features: Callable[[Tensor], Tensor]) -> Tensor:
    copies, s = _copies(learner, batch), batch.support.x.shape[1]
    source = torch.arange(copies.x.shape[1], device=copies.x.device) % s  # each round of copies is in the same order
    drawn = spread(features(copies.x), source.expand(len(copies.x), -1))
    return drawn / spread(features(batch.query.x), batch.query.y)


def _copies(learner: MetaLearner, batch: Episode) -> Examples:
    """The copies alone, x [B, M S, *X] and the classes of their sources."""
    state = learner.adapt(batch.support)
    s = batch.support.x.shape[1]
    if not isinstance(state, Examples) or state.x.shape[1] == s:
        raise ValueError(f"learner: {type(learner).__name__} adds no copies to its support set; their scores need some")
    return Examples(state.x[:, s:], state.y[:, s:])


@lru_cache(maxsize=2)
def _judge(device: torch.device, way: int) -> ProtoNet:
    from metabook import pretrained  # it imports the registry

    judge = pretrained.load(JUDGE, way=way).to(device)
    assert isinstance(judge, ProtoNet)
    return judge
