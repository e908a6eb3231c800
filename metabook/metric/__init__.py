"""Systems that compare: embeddings, prototypes and memories."""

from metabook.metric.best_view import BestView
from metabook.metric.matching import MatchingNet
from metabook.metric.prototypical import ProtoNet
from metabook.metric.relation import RelationNet
from metabook.metric.snail import SNAIL

__all__ = ["SNAIL", "BestView", "MatchingNet", "ProtoNet", "RelationNet"]
