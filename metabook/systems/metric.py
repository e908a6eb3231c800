"""The systems of the metric chapter."""

from __future__ import annotations

from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.systems.entry import Shape, System, network


def _prototypical(
    x_shape: Shape, likelihood: Classification, *, width: int | None = None, norm: str = "batch"
) -> ProtoNet:
    return ProtoNet(network(x_shape, None, width=width, norm=norm), likelihood)


SYSTEMS: dict[str, System] = {
    "prototypical": System(
        _prototypical, "metric", "snell2017prototypical", "the nearest class mean in a learned space", (Classification,)
    ),
}
