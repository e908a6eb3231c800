"""Meta Networks, and its base learners, as a system."""

from __future__ import annotations

from torch import nn

from metabook.checks import check_choice, check_count
from metabook.likelihood import Classification
from metabook.metanetworks import MetaNet
from metabook.nn import AugmentedNet, Strided
from metabook.systems.entry import Shape, System, network, outputs_of

BASES = ("shared", "own", "mlp")
BACKBONES = ("usual", "strided")


def _meta_networks(
    x_shape: Shape,
    likelihood: Classification,
    *,
    base: str = "shared",
    fixed_base: bool = False,
    base_features: int | None = None,
    max_way: int | None = None,
    summary: str = "lstm",
    reads: int = 5,
    loss: str = "cross-entropy",
    fast: bool = True,
    slow: bool = True,
    task_weights: bool = False,
    scale: float = 1.0,
    first_order: bool = True,
    features: int | None = None,
    width: int | None = None,
    norm: str = "group",
    backbone: str = "usual",
) -> MetaNet:
    """base: the body of the base learner: that of the representation, one of its own, or an MLP of its own.

    fixed_base: its slow weights stay as drawn. base_features: what a body of its own puts out, strided or an MLP;
    as many as ``features`` if None. max_way: outputs, for tasks of more classes than those of training.
    features: units of the augmented layers, 64 for images and 16 for vectors. backbone: of images, usual or strided;
    the latter is followed by a linear layer to as many features, for what it puts out is long.
    """
    check_choice("base", base, BASES)
    if fixed_base and base == "shared":
        raise ValueError(
            "base: shared given with fixed_base=True; what the representation learns is not fixed: own, mlp"
        )
    if base == "shared" and base_features is not None:
        raise ValueError(
            f"base_features: {base_features} given with base=shared; its features are those of the representation"
        )
    n = likelihood.size
    d = (64 if len(x_shape) == 3 else 16) if features is None else check_count("features", features)
    check_choice("backbone", backbone, BACKBONES)
    body = _body(x_shape, d, width, norm, backbone)
    f = d if base_features is None else check_count("base_features", base_features)
    other = body if base == "shared" else _body(x_shape, f, width, norm, "dense" if base == "mlp" else backbone)
    inputs = [outputs_of(net, x_shape) for net in (body, other)]
    learner = AugmentedNet(other, (inputs[1], d, n if max_way is None else check_count("max_way", max_way, least=n)))
    if fixed_base:
        learner.requires_grad_(False)
    return MetaNet(
        AugmentedNet(body, (inputs[0], d)),
        learner,
        likelihood,
        summary=summary,
        reads=reads,
        loss=loss,
        fast=fast,
        slow=slow,
        task_weights=task_weights,
        scale=scale,
        first_order=first_order,
    )


def _body(x_shape: Shape, features: int, width: int | None, norm: str, backbone: str) -> nn.Module:
    """A network to features; of vectors, of dense layers and of a strided backbone there are ``features`` of them."""
    if backbone == "dense":
        return network(x_shape, features, layers=(features,))
    if backbone == "strided" and len(x_shape) == 3:
        return Strided(x_shape[0], features, size=x_shape[1], norm=norm)
    return network(x_shape, None if len(x_shape) == 3 else features, width=width, norm=norm)


SYSTEMS: dict[str, System] = {
    "meta-networks": System(
        _meta_networks,
        "metanetworks",
        "munkhdalai2017meta",
        "gradients on the support examples become fast weights, which queries read by likeness",
        (Classification,),
        steps=(2_000, 1_500),
    ),
}
