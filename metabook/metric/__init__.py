"""Systems that compare: embeddings, prototypes and memories."""

from metabook.metric.matching import MatchingNet
from metabook.metric.prototypical import ProtoNet
from metabook.metric.relation import RelationNet

__all__ = ["MatchingNet", "ProtoNet", "RelationNet"]
