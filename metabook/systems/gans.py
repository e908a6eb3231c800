"""The systems of the generative chapter with a generator that plays against a discriminator."""

from __future__ import annotations

import torch

from metabook.generative import MetaGAN
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.nn import TaskGenerator
from metabook.systems.entry import Shape, System, network


def _metagan(
    x_shape: Shape,
    likelihood: Classification,
    *,
    weight: float = 1.0,
    noise: int = 16,
    width: int | None = None,
    norm: str = "batch",
) -> MetaGAN:
    net = network(x_shape, None, width=width, norm=norm)
    with torch.no_grad():
        features = run(net, torch.zeros(1, 2, *x_shape)).shape[-1]  # D, what two blank examples become
    generator = TaskGenerator(x_shape, noise=noise, width=64 if width is None else width)
    return MetaGAN(net, generator, likelihood, features=features, noise=noise, weight=weight)


SYSTEMS: dict[str, System] = {
    "metagan": System(
        _metagan,
        "generative",
        "zhang2018metagan",
        "a prototypical network that must also tell real examples from generated ones",
        (Classification,),
    ),
}
