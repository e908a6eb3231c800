"""Networks that write networks: weights, or weights and architecture, written for each task."""

from metabook.metanetworks.hypernetwork import Hypernetwork, Written
from metabook.metanetworks.metanetworks import MetaNetworks, TaskNetwork, responsibilities

__all__ = ["Hypernetwork", "MetaNetworks", "TaskNetwork", "Written", "responsibilities"]
