"""Learned and hand-made optimisers, among the systems of the optimization chapter."""

from __future__ import annotations

import math

import torch
from torch import nn

from metabook.likelihood import Likelihood
from metabook.nn import MLP
from metabook.optimization import HandMade, LearnedOptimizer
from metabook.systems.entry import Shape, System, network


def _optimisee(
    x_shape: Shape,
    outputs: int,
    *,
    layers: tuple[int, ...] | None,
    activation: str,
    bias: bool,
    width: int | None,
    norm: str,
    zero: bool,
) -> nn.Module:
    """The network whose weights an optimiser moves: with ``layers`` an MLP of these hidden widths.

    zero: the last layer starts at zero, so that a start that is not trained prefers no output.
    """
    if layers is None:
        net = network(x_shape, outputs, width=width, norm=norm)
    else:
        net = MLP(math.prod(x_shape), outputs, hidden=layers, activation=activation, bias=bias)
    last = f"layers.{len(net.layers) - 1}" if isinstance(net, MLP) else "head"
    if zero:
        with torch.no_grad():
            for p in net.get_submodule(last).parameters():
                p.zero_()
    return net


def _learned_optimizer(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    steps: int = 5,
    unroll: int = 20,
    hidden: int = 20,
    batch: int | None = None,
    learn_start: bool = True,
    first_order: bool = True,
    emphasis: float = 0.0,
    layers: tuple[int, ...] | None = None,
    activation: str = "relu",
    bias: bool = True,
    width: int | None = None,
    norm: str = "batch",
) -> LearnedOptimizer:
    net = _optimisee(
        x_shape,
        likelihood.size,
        layers=layers,
        activation=activation,
        bias=bias,
        width=width,
        norm=norm,
        zero=not learn_start,
    )
    return LearnedOptimizer(
        net,
        likelihood,
        steps=steps,
        unroll=unroll,
        hidden=hidden,
        batch=batch,
        learn_start=learn_start,
        first_order=first_order,
        emphasis=emphasis,
    )


def _hand_made(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    rule: str = "adam",
    lr: float = 0.01,
    steps: int = 10,
    beta1: float = 0.9,
    beta2: float = 0.999,
    decay: str = "none",
    batch: int | None = None,
    layers: tuple[int, ...] | None = None,
    activation: str = "relu",
    bias: bool = True,
    width: int | None = None,
    norm: str = "batch",
) -> HandMade:
    net = _optimisee(
        x_shape, likelihood.size, layers=layers, activation=activation, bias=bias, width=width, norm=norm, zero=True
    )
    return HandMade(net, likelihood, rule=rule, lr=lr, steps=steps, beta1=beta1, beta2=beta2, decay=decay, batch=batch)


SYSTEMS: dict[str, System] = {
    "learned-optimizer": System(
        _learned_optimizer,
        "optimization",
        "andrychowicz2016learning",
        "an LSTM that turns gradients into steps",
        steps=(1_500, 60),
    ),
    "hand-made-optimizer": System(
        _hand_made, "optimization", "", "SGD, momentum, RMSprop or Adam from a start that nothing trains (baseline)"
    ),
}
