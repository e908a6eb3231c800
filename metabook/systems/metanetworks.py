"""The systems that write networks: weights, or weights and architecture."""

from __future__ import annotations

import math

from torch import nn

from metabook.likelihood import Classification, Likelihood
from metabook.metanetworks import Hypernetwork
from metabook.nn import ClassEncoder, Conv4, PairEncoder, Pixels, WeightGenerator
from metabook.nn.networks import MLP
from metabook.systems.entry import Shape, System, inner_rate, network


def _encoder(x_shape: Shape, likelihood: Likelihood, *, hidden: int, code: int, width: int | None) -> nn.Module:
    """One code of the task, or one of each of its classes."""
    body = network(x_shape, None, width=width, norm="group") if len(x_shape) == 3 else Pixels()
    features = body.size_out if isinstance(body, Conv4) else math.prod(x_shape)
    if isinstance(likelihood, Classification):
        return ClassEncoder(body, features, likelihood, hidden=hidden, code=code)
    return PairEncoder(body, features, likelihood, hidden=hidden, code=code, layers=2, described=True)


def _hypernetwork(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    code: int = 32,
    hidden: int = 64,
    parts: int = 1,
    inner_lr: float | None = None,
    inner_steps: int = 0,
    first_order: bool = False,
    layers: tuple[int, ...] | None = None,
    width: int | None = None,
    norm: str = "batch",
) -> Hypernetwork:
    net = network(x_shape, likelihood.size, layers=layers, width=width, norm=norm)
    last = f"layers.{len(net.layers) - 1}." if isinstance(net, MLP) else "head."
    head = last if isinstance(likelihood, Classification) else None
    return Hypernetwork(
        net,
        _encoder(x_shape, likelihood, hidden=hidden, code=code, width=width),
        WeightGenerator(net, code, head=head, parts=parts, hidden=hidden),
        likelihood,
        inner_lr=inner_rate(x_shape) if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        first_order=first_order,
    )


SYSTEMS: dict[str, System] = {
    "hypernetwork": System(
        _hypernetwork, "metanetworks", "ha2017hypernetworks", "one network reads the task and writes another's weights"
    ),
}
