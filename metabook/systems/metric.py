"""The systems of the metric chapter."""

from __future__ import annotations

import torch

from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.metric import MatchingNet, ProtoNet
from metabook.systems.entry import Shape, System, network


def _prototypical(
    x_shape: Shape, likelihood: Classification, *, width: int | None = None, norm: str = "batch"
) -> ProtoNet:
    return ProtoNet(network(x_shape, None, width=width, norm=norm), likelihood)


def _matching(
    x_shape: Shape,
    likelihood: Classification,
    *,
    scale: float = 10.0,
    width: int | None = None,
    norm: str = "batch",
) -> MatchingNet:
    net = network(x_shape, None, width=width, norm=norm)
    return MatchingNet(net, likelihood, scale=scale)


def _matching_full_context(
    x_shape: Shape,
    likelihood: Classification,
    *,
    scale: float = 10.0,
    steps: int = 5,
    width: int | None = None,
    norm: str = "batch",
) -> MatchingNet:
    net = network(x_shape, None, width=width, norm=norm)
    with torch.no_grad():
        features = run(net, torch.zeros(1, 2, *x_shape)).shape[-1]  # D, what two blank examples become
    return MatchingNet(net, likelihood, scale=scale, full_context=True, features=features, steps=steps)


SYSTEMS: dict[str, System] = {
    "prototypical": System(
        _prototypical, "metric", "snell2017prototypical", "the nearest class mean in a learned space", (Classification,)
    ),
    "matching": System(
        _matching, "metric", "vinyals2016matching", "a vote of the support examples, by similarity", (Classification,)
    ),
    "matching-full-context": System(
        _matching_full_context,
        "metric",
        "vinyals2016matching",
        "a vote by similarity, of embeddings that see the whole support set",
        (Classification,),
    ),
}
