"""Systems that compare: embeddings, prototypes and memories."""

from metabook.metric.matching import MatchingNet
from metabook.metric.prototypical import ProtoNet

__all__ = ["MatchingNet", "ProtoNet"]
