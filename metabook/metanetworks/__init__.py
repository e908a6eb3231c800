"""Networks that write networks: weights, or weights and architecture, written for each task."""

from metabook.metanetworks.hypernetwork import Hypernetwork

__all__ = ["Hypernetwork"]
