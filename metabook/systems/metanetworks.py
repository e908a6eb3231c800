"""The systems of the metanetworks chapter."""

from __future__ import annotations

from metabook.systems import meta_networks
from metabook.systems.entry import System

SYSTEMS: dict[str, System] = {**meta_networks.SYSTEMS}
