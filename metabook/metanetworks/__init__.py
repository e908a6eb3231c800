"""Networks that write networks: weights, or weights and architecture, from a task's examples or its gradients."""

from metabook.metanetworks.hypernetwork import Hypernetwork, Written
from metabook.metanetworks.meta_networks import FastWeights, MetaNet
from metabook.metanetworks.metanetworks import MetaNetworks, TaskNetwork, responsibilities
from metabook.metanetworks.random_search import Found, random_search

__all__ = [
    "FastWeights",
    "Found",
    "Hypernetwork",
    "MetaNet",
    "MetaNetworks",
    "TaskNetwork",
    "Written",
    "random_search",
    "responsibilities",
]
