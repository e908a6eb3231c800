"""Systems that compare: embeddings, prototypes and memories."""

from metabook.metric.matching import MatchingNet
from metabook.metric.prototypical import ProtoNet
from metabook.metric.relation import RelationNet
from metabook.metric.snail import SNAIL

__all__ = ["SNAIL", "MatchingNet", "ProtoNet", "RelationNet"]
