"""The systems of the generative chapter that give every task a code and a few gradient steps."""

from __future__ import annotations

import math

from metabook.generative import CAVIA, ModulatedMAML
from metabook.likelihood import Likelihood
from metabook.nn import MLP, AppendContext, Chain, ContextFilm, Conv4, PairEncoder, Pixels, add_film, insert_film
from metabook.systems.entry import Shape, System, inner_rate, network


def _cavia(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    context: int | None = None,
    inner_lr: float = 1.0,
    inner_steps: int | None = None,
    first_order: bool = False,
    width: int | None = None,
    norm: str = "batch",
) -> CAVIA:
    if len(x_shape) == 3:  # the authors' setting for images: 100 numbers, FiLM in the third block, two steps
        size, steps = 100 if context is None else context, 2
        net = network(x_shape, likelihood.size, width=width, norm=norm)
        assert isinstance(net, Conv4)
        insert_film(net, 2, ContextFilm(size, 64 if width is None else width))
    else:
        size, steps = 5 if context is None else context, 1
        inputs = math.prod(x_shape) + size
        net = Chain(AppendContext(size), network((inputs,), likelihood.size, width=width, norm=norm))
    steps = steps if inner_steps is None else inner_steps
    return CAVIA(net, likelihood, inner_lr=inner_lr, inner_steps=steps, first_order=first_order)


def _modulated_maml(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    code: int = 32,
    hidden: int = 64,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    width: int | None = None,
    norm: str = "batch",
) -> ModulatedMAML:
    net = network(x_shape, likelihood.size, width=width, norm=norm)
    assert isinstance(net, (MLP, Conv4))
    body = network(x_shape, None, width=width, norm=norm) if len(x_shape) == 3 else Pixels()
    features = body.size_out if isinstance(body, Conv4) else math.prod(x_shape)
    return ModulatedMAML(
        add_film(net),
        PairEncoder(body, features, likelihood, hidden=hidden, code=code),
        likelihood,
        code=code,
        inner_lr=inner_rate(x_shape) if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        first_order=first_order,
    )


SYSTEMS: dict[str, System] = {
    "cavia": System(
        _cavia, "generative", "zintgraf2019fast", "gradient steps on a short vector that tells the network its task"
    ),
    "modulated-maml": System(
        _modulated_maml,
        "generative",
        "vuorio2019multimodal",
        "a code of the support set modulates the start, then MAML's steps",
        steps=(10_000, 200),
    ),
}
