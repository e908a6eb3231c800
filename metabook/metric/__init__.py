"""Systems that compare: embeddings, prototypes and memories."""

from metabook.metric.prototypical import ProtoNet

__all__ = ["ProtoNet"]
