"""Systems of the optimization chapter that differ from MAML in what they minimise."""

from __future__ import annotations

import math

from torch import nn

from metabook.checks import check_choice, check_count
from metabook.likelihood import Likelihood
from metabook.nn import MLP, Conv4
from metabook.optimization import MRMAML, RegularisedMAML
from metabook.systems.entry import Shape, System, inner_rate, network


def _regularised(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    maml_weight: float = 1.0,
    task_weight: float = 1.0,
    penalty: str = "none",
    penalty_weight: float = 0.0,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    width: int | None = None,
    norm: str = "batch",
) -> RegularisedMAML:
    return RegularisedMAML(
        network(x_shape, likelihood.size, width=width, norm=norm),
        likelihood,
        maml_weight=maml_weight,
        task_weight=task_weight,
        penalty=penalty,
        penalty_weight=penalty_weight,
        inner_lr=inner_rate(x_shape) if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        first_order=first_order,
    )


def _meta_regularised(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    form: str = "weights",
    encoder: bool = True,
    priced: str = "",
    beta: float = 1e-3,
    prior_std: float = 1.0,
    start_std: float = 0.01,
    code: int | None = None,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    width: int | None = None,
    norm: str = "batch",
) -> MRMAML:
    check_choice("form", form, ("weights", "activations"))
    if encoder:
        first, net = _encoder_and_net(x_shape, likelihood.size, form=form, code=code, width=width, norm=norm)
    else:
        first, net = None, network(x_shape, likelihood.size, width=width, norm=norm)
    return MRMAML(
        net,
        likelihood,
        encoder=first,
        form=form,
        priced=priced,
        beta=beta,
        prior_std=prior_std,
        start_std=start_std,
        inner_lr=inner_rate(x_shape) if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        first_order=first_order,
    )


def _encoder_and_net(
    x_shape: Shape, outputs: int, *, form: str, code: int | None, width: int | None, norm: str
) -> tuple[nn.Module, nn.Module]:
    """The encoder and the network that adapts: as in the authors' code for sine waves; Conv4 and an MLP for images."""
    size = check_count("code", (64 if len(x_shape) == 3 else 5) if code is None else code)
    encoded = 2 * size if form == "activations" else size
    if len(x_shape) == 3:
        channels = 64 if width is None else width
        encoder: nn.Module = Conv4(x_shape[0], encoded, width=channels, size=min(x_shape[1:]), norm=norm)
    else:
        encoder = MLP(math.prod(x_shape), encoded, hidden=(100 if width is None else width,))
    hidden = 40 if width is None else width
    return encoder, MLP(size, outputs, hidden=(hidden, hidden))


SYSTEMS: dict[str, System] = {
    "maml-regularised": System(
        _regularised,
        "optimization",
        "neyshabur2015norm",
        "a joint loss, MAML's as its regulariser, and a penalty",
        steps=(15_000, 250),
    ),
    "maml-meta-regularised": System(
        _meta_regularised,
        "optimization",
        "yin2020memorization",
        "MAML that pays for what it knows without the support",
        steps=(15_000, 350),
    ),
}
