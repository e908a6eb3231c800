"""Networks that write networks: weights made for a task by other networks, from its gradients or its examples."""

from metabook.metanetworks.meta_networks import FastWeights, MetaNet

__all__ = ["FastWeights", "MetaNet"]
