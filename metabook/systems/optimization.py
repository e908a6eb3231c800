"""The systems of the optimization chapter."""

from __future__ import annotations

from metabook.likelihood import Likelihood
from metabook.optimization import MAML
from metabook.systems.entry import Shape, System, inner_rate, network


def _maml(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    width: int | None = None,
    norm: str = "batch",
) -> MAML:
    net = network(x_shape, likelihood.size, width=width, norm=norm)
    rate = inner_rate(x_shape) if inner_lr is None else inner_lr
    return MAML(net, likelihood, inner_lr=rate, inner_steps=inner_steps, first_order=first_order)


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


SYSTEMS: dict[str, System] = {
    "maml": System(_maml, "optimization", "finn2017maml", "a start from which a few gradient steps solve a new task"),
    "maml-first-order": System(
        _maml_first_order, "optimization", "finn2017maml", "MAML that takes the inner gradients as constants"
    ),
}
