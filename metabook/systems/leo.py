"""The system of the generative chapter that generates the weights of a classifier."""

from __future__ import annotations

import math

import torch

from metabook.generative import LEO
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.nn import Pixels
from metabook.systems.entry import Shape, System, network


def _leo(
    x_shape: Shape,
    likelihood: Classification,
    *,
    latents: int = 64,
    hidden: int = 128,
    inner_lr: float | None = None,
    inner_steps: int = 5,
    finetune_lr: float | None = None,
    finetune_steps: int = 5,
    kl_weight: float = 0.1,
    encoder_penalty: float = 1e-9,
    orthogonality: float = 1e-3,
    width: int | None = None,
    norm: str = "batch",
) -> LEO:
    fixed = width is None and len(x_shape) == 1  # vectors are embeddings, as published; width: a body before them
    net = Pixels() if fixed else network(x_shape, None, width=width, norm=norm)
    with torch.no_grad():
        features = math.prod(x_shape) if fixed else run(net, torch.zeros(1, 2, *x_shape)).shape[-1]
    return LEO(
        net,
        likelihood,
        features=features,
        latents=latents,
        hidden=hidden,
        inner_lr=(20.0 if fixed else 1.0) if inner_lr is None else inner_lr,  # 20: embeddings have length 1
        inner_steps=inner_steps,
        finetune_lr=(1.0 if fixed else 1e-3) if finetune_lr is None else finetune_lr,
        finetune_steps=finetune_steps,
        kl_weight=kl_weight,
        encoder_penalty=encoder_penalty,
        orthogonality=orthogonality,
    )


SYSTEMS: dict[str, System] = {
    "leo": System(
        _leo,
        "generative",
        "rusu2019leo",
        "steps on a code that generates a classifier's weights",
        (Classification,),
        steps=(5_000, 350),
    ),
}
