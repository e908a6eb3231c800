"""The systems of the metric chapter."""

from __future__ import annotations

import torch
from torch import nn

from metabook.checks import check_choice, check_count
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.metric import SNAIL, MatchingNet, ProtoNet, RelationNet
from metabook.nn import FeatureMaps, Strided
from metabook.nn.relation_module import compare_maps, compare_vectors
from metabook.systems.entry import Shape, System, network

BACKBONES = ("usual", "strided")


def _prototypical(
    x_shape: Shape,
    likelihood: Classification,
    *,
    layers: tuple[int, ...] | None = None,
    width: int | None = None,
    norm: str = "batch",
    distance: str = "euclidean",
    scale: float | None = None,
    swap: bool = False,
    backbone: str = "usual",
) -> ProtoNet:
    maps = distance == "local"
    if layers is not None and (maps or backbone != "usual"):
        raise ValueError(f"layers: {layers} given with distance {distance} and backbone {backbone}; leave one out")
    net = _maps(x_shape, width, norm, backbone)[0] if maps else _features(x_shape, None, width, norm, backbone, layers)
    return ProtoNet(net, likelihood, distance=distance, scale=scale, swap=swap)


def _matching(
    x_shape: Shape,
    likelihood: Classification,
    *,
    scale: float = 10.0,
    width: int | None = None,
    norm: str = "batch",
    backbone: str = "usual",
) -> MatchingNet:
    return MatchingNet(_features(x_shape, None, width, norm, backbone), likelihood, scale=scale)


def _matching_full_context(
    x_shape: Shape,
    likelihood: Classification,
    *,
    scale: float = 10.0,
    steps: int = 5,
    width: int | None = None,
    norm: str = "batch",
    backbone: str = "usual",
) -> MatchingNet:
    net = _features(x_shape, None, width, norm, backbone)
    with torch.no_grad():
        features = run(net, torch.zeros(1, 2, *x_shape)).shape[-1]  # D, what two blank examples become
    return MatchingNet(net, likelihood, scale=scale, full_context=True, features=features, steps=steps)


def _relation(
    x_shape: Shape,
    likelihood: Classification,
    *,
    width: int | None = None,
    norm: str = "batch",
    loss: str = "mse",
    backbone: str = "usual",
) -> RelationNet:
    if len(x_shape) == 3:
        body, channels, size = _maps(x_shape, width, norm, backbone)
        return RelationNet(body, compare_maps(channels, size, norm=norm), likelihood, loss=loss)
    relation = compare_vectors(64, 40 if width is None else width)
    return RelationNet(_features(x_shape, None, width, norm, backbone), relation, likelihood, loss=loss)


def _snail(
    x_shape: Shape,
    likelihood: Classification,
    *,
    max_shots: int = 1,
    filters: int = 64,
    width: int | None = None,
    norm: str = "batch",
    backbone: str = "usual",
) -> SNAIL:
    f = check_count("filters", filters, least=4)
    return SNAIL(
        _features(x_shape, 64, width, norm, backbone),
        likelihood,
        max_shots=max_shots,
        filters=f,
        attention=((f // 2, f // 4), (2 * f, f), (4 * f, 2 * f)),  # the paper's proportions
    )


def _features(
    x_shape: Shape,
    outputs: int | None,
    width: int | None,
    norm: str,
    backbone: str,
    layers: tuple[int, ...] | None = None,
) -> nn.Module:
    """The usual network, or ``Strided``, to a vector of features."""
    if _is_usual(x_shape, width, backbone):
        return network(x_shape, outputs, layers=layers, width=width, norm=norm)
    return Strided(x_shape[0], outputs, size=min(x_shape[1:]), norm=norm)


def _maps(x_shape: Shape, width: int | None, norm: str, backbone: str) -> tuple[nn.Module, int, int]:
    """A network to maps [channels, size, size] of square images; channels; size."""
    if len(x_shape) != 3:
        raise ValueError(f"distance: local given for inputs {list(x_shape)}; it compares maps of images")
    if _is_usual(x_shape, width, backbone):
        channels, size = 64 if width is None else width, min(x_shape[1:])
        return FeatureMaps(x_shape[0], width=channels, size=size, norm=norm), channels, size // 4
    widths = (32, 64, 128, 64)
    return Strided(x_shape[0], widths=widths, norm=norm, maps=True), widths[-1], (min(x_shape[1:]) + 1) // 2 // 2


def _is_usual(x_shape: Shape, width: int | None, backbone: str) -> bool:
    if check_choice("backbone", backbone, BACKBONES) == "strided" and (len(x_shape) != 3 or width is not None):
        raise ValueError(f"backbone: strided given for inputs {list(x_shape)} and width {width}; images, no width")
    return backbone == "usual"


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
    "relation": System(
        _relation, "metric", "sung2018relation", "a network that learns what alike means", (Classification,)
    ),
    "snail": System(
        _snail,
        "metric",
        "mishra2018snail",
        "a causal network reads the support set, then the query",
        (Classification,),
        steps=(3_000, 1_500),
    ),
}
