"""The systems of the metric chapter."""

from __future__ import annotations

import torch

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
    width: int | None = None,
    norm: str = "batch",
    distance: str = "euclidean",
    scale: float | None = None,
    backbone: str = "usual",
) -> ProtoNet:
    if check_choice("backbone", backbone, BACKBONES) == "usual":
        net = network(x_shape, None, width=width, norm=norm)
    elif len(x_shape) != 3 or width is not None:
        raise ValueError(f"backbone: strided given for inputs {list(x_shape)} and width {width}; images, no width")
    else:
        net = Strided(x_shape[0], norm=norm)
    return ProtoNet(net, likelihood, distance=distance, scale=scale)


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


def _relation(
    x_shape: Shape, likelihood: Classification, *, width: int | None = None, norm: str = "batch", loss: str = "mse"
) -> RelationNet:
    if len(x_shape) == 3:
        width, size = 64 if width is None else width, min(x_shape[1:])
        body = FeatureMaps(x_shape[0], width=width, size=size, norm=norm)
        return RelationNet(body, compare_maps(width, size // 4, norm=norm), likelihood, loss=loss)
    relation = compare_vectors(64, 40 if width is None else width)
    return RelationNet(network(x_shape, None, width=width, norm=norm), relation, likelihood, loss=loss)


def _snail(
    x_shape: Shape,
    likelihood: Classification,
    *,
    max_shots: int = 1,
    filters: int = 64,
    width: int | None = None,
    norm: str = "batch",
) -> SNAIL:
    f = check_count("filters", filters, least=4)
    return SNAIL(
        network(x_shape, 64, width=width, norm=norm),
        likelihood,
        max_shots=max_shots,
        filters=f,
        attention=((f // 2, f // 4), (2 * f, f), (4 * f, 2 * f)),  # the paper's proportions
    )


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
