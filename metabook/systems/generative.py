"""The systems of the generative chapter."""

from __future__ import annotations

from metabook.systems import gans, leo, neural_processes, task_codes
from metabook.systems.entry import System

SYSTEMS: dict[str, System] = {**task_codes.SYSTEMS, **gans.SYSTEMS, **leo.SYSTEMS, **neural_processes.SYSTEMS}
