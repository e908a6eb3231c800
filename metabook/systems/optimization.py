"""The systems of the optimization chapter."""

from __future__ import annotations

from torch import nn

from metabook.likelihood import Likelihood
from metabook.nn import MLP, Conv4
from metabook.optimization import ANIL, MAML, MetaSGD, Reptile
from metabook.systems import engine, objectives, optimizers, rules
from metabook.systems.entry import Shape, System, cell, inner_rate, network


def _maml(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    clip: float | None = None,
    layers: tuple[int, ...] | None = None,
    units: str = "",
    width: int | None = None,
    norm: str = "batch",
) -> MAML:
    if units:
        net: nn.Module = cell(x_shape, likelihood.size, units, width=width)
    else:
        net = network(x_shape, likelihood.size, layers=layers, width=width, norm=norm)
    rate = inner_rate(x_shape) if inner_lr is None else inner_lr
    return MAML(net, likelihood, inner_lr=rate, inner_steps=inner_steps, first_order=first_order, clip=clip)


def _maml_first_order(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    width: int | None = None,
    norm: str = "batch",
) -> MAML:
    return _maml(
        x_shape, likelihood, inner_lr=inner_lr, inner_steps=inner_steps, first_order=True, width=width, norm=norm
    )


def _reptile(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 5,
    inner_batch: int = 10,
    inner_optimizer: str | None = None,
    test_steps: int = 10,
    test_batch: int | None = None,
    width: int | None = None,
    norm: str = "batch",
) -> Reptile:
    images = len(x_shape) == 3  # the authors' settings: Adam for images, plain steps of 0.02 for sine waves
    return Reptile(
        network(x_shape, likelihood.size, width=width, norm=norm),
        likelihood,
        inner_lr=(0.001 if images else 0.02) if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        inner_batch=inner_batch,
        inner_optimizer=("adam" if images else "sgd") if inner_optimizer is None else inner_optimizer,
        test_steps=test_steps,
        test_batch=test_batch,
    )


def _meta_sgd(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    layers: tuple[int, ...] | None = None,
    width: int | None = None,
    norm: str = "batch",
) -> MetaSGD:
    net = network(x_shape, likelihood.size, layers=layers, width=width, norm=norm)
    rate = inner_rate(x_shape) if inner_lr is None else inner_lr
    return MetaSGD(net, likelihood, inner_lr=rate, inner_steps=inner_steps, first_order=first_order)


def _anil(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    layers: tuple[int, ...] | None = None,
    units: str = "",
    width: int | None = None,
    norm: str = "batch",
) -> ANIL:
    body, head = _body_and_head(x_shape, likelihood, layers=layers, units=units, width=width, norm=norm)
    rate = inner_rate(x_shape) if inner_lr is None else inner_lr
    return ANIL(body, head, likelihood, inner_lr=rate, inner_steps=inner_steps, first_order=first_order)


def _body_and_head(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    layers: tuple[int, ...] | None,
    units: str,
    width: int | None,
    norm: str,
) -> tuple[nn.Module, nn.Module]:
    if units:
        net = cell(x_shape, likelihood.size, units, width=width)
        head = net.head
        net.add_module("head", nn.Identity())
        return net, head
    body = network(x_shape, None, layers=layers, width=width, norm=norm)
    return body, MLP(body.size_out if isinstance(body, Conv4) else 64, likelihood.size, hidden=())


SYSTEMS: dict[str, System] = {
    "maml": System(
        _maml,
        "optimization",
        "finn2017maml",
        "a start from which a few gradient steps solve a new task",
        steps=(20_000, 350),
    ),
    "maml-first-order": System(
        _maml_first_order, "optimization", "finn2017maml", "MAML that takes the inner gradients as constants"
    ),
    "reptile": System(
        _reptile,
        "optimization",
        "nichol2018firstorder",
        "train on a task, then move the start towards the end",
        steps=(8_000, 250),
    ),
    "meta-sgd": System(
        _meta_sgd, "optimization", "li2017metasgd", "a start, and a learned rate for every weight", steps=(15_000, 350)
    ),
    "anil": System(_anil, "optimization", "raghu2020rapid", "MAML that adapts the last layer alone"),
    **optimizers.SYSTEMS,
    **engine.SYSTEMS,
    **objectives.SYSTEMS,
    **rules.SYSTEMS,
}
