"""The neural process family, with networks of usual size."""

from __future__ import annotations

import math

from torch import nn

from metabook.checks import check_count
from metabook.generative import (
    CNP,
    AttentiveCNP,
    AttentiveNeuralProcess,
    ConvCNP,
    NeuralProcess,
    TransformerNP,
)
from metabook.likelihood import Regression
from metabook.nn import MLP, GridNet, LatentEncoder, MultiHead, TransformerBlock, Waves
from metabook.predictive import FLOOR
from metabook.systems.entry import Shape, System


def _mlp(inputs: int, outputs: int, width: int, hidden: int = 2) -> MLP:
    return MLP(inputs, outputs, hidden=(width,) * hidden)


def _place(inputs: int, width: int, waves: float | None) -> nn.Module:
    """From an input to its key; a network learns it unless waves, the scale of their frequencies, are given."""
    return _mlp(inputs, width, width) if waves is None else Waves(inputs, width, scale=waves)


def _cnp(x_shape: Shape, likelihood: Regression, *, width: int = 128, floor: float = FLOOR) -> CNP:
    x, y, d = math.prod(x_shape), likelihood.size, check_count("width", width)
    return CNP(_mlp(x + y, d, d), _mlp(x + d, 2 * y, d), likelihood, floor=floor)


def _neural_process(
    x_shape: Shape,
    likelihood: Regression,
    *,
    width: int = 128,
    latent: int = 64,
    samples: int = 32,
    draws: int = 4,
    floor: float = FLOOR,
) -> NeuralProcess:
    x, y, d = math.prod(x_shape), likelihood.size, check_count("width", width)
    path = LatentEncoder(_mlp(x + y, d, d), d, latent)
    return NeuralProcess(path, _mlp(x + latent, 2 * y, d), likelihood, samples=samples, draws=draws, floor=floor)


def _attentive_cnp(
    x_shape: Shape,
    likelihood: Regression,
    *,
    width: int = 128,
    heads: int = 8,
    waves: float | None = None,
    floor: float = FLOOR,
) -> AttentiveCNP:
    x, y, d = math.prod(x_shape), likelihood.size, check_count("width", width)
    place, attention = _place(x, d, waves), MultiHead(d, heads=heads)
    return AttentiveCNP(_mlp(x + y, d, d), place, attention, _mlp(x + d, 2 * y, d), likelihood, floor=floor)


def _attentive_neural_process(
    x_shape: Shape,
    likelihood: Regression,
    *,
    width: int = 128,
    heads: int = 8,
    latent: int = 64,
    samples: int = 32,
    draws: int = 1,
    waves: float | None = None,
    floor: float = FLOOR,
) -> AttentiveNeuralProcess:
    x, y, d = math.prod(x_shape), likelihood.size, check_count("width", width)
    return AttentiveNeuralProcess(
        _mlp(x + y, d, d),
        _place(x, d, waves),
        MultiHead(d, heads=heads),
        LatentEncoder(_mlp(x + y, d, d), d, latent),
        _mlp(x + d + latent, 2 * y, d),
        likelihood,
        samples=samples,
        draws=draws,
        floor=floor,
    )


def _conv_cnp(
    x_shape: Shape,
    likelihood: Regression,
    *,
    width: int = 64,
    per_unit: int = 16,
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1),
    floor: float = FLOOR,
) -> ConvCNP:
    if math.prod(x_shape) != 1:
        raise ValueError(f"x_shape: {list(x_shape)} given; conv-cnp needs inputs on a line, [1]")
    net = GridNet(1 + likelihood.size, width=width, dilations=dilations)
    return ConvCNP(net, _mlp(width, 2 * likelihood.size, width, 1), likelihood, per_unit=per_unit, floor=floor)


def _transformer_np(
    x_shape: Shape,
    likelihood: Regression,
    *,
    width: int = 64,
    layers: int = 4,
    heads: int = 4,
    floor: float = FLOOR,
) -> TransformerNP:
    x, y = math.prod(x_shape), likelihood.size
    blocks = [TransformerBlock(width, heads=heads) for _ in range(check_count("layers", layers))]
    return TransformerNP(_mlp(x + y + 1, width, width), blocks, _mlp(width, 2 * y, width, 1), likelihood, floor=floor)


SYSTEMS: dict[str, System] = {
    "cnp": System(_cnp, "generative", "garnelo2018cnp", "the support set as the mean of its codes", (Regression,)),
    "neural-process": System(
        _neural_process,
        "generative",
        "garnelo2018np",
        "a latent variable for each task, so that whole functions can be drawn",
        (Regression,),
    ),
    "attentive-cnp": System(
        _attentive_cnp, "generative", "kim2019attentive", "a mean of codes that each query weighs anew", (Regression,)
    ),
    "attentive-neural-process": System(
        _attentive_neural_process,
        "generative",
        "kim2019attentive",
        "attention for what is near, a latent variable for the rest",
        (Regression,),
    ),
    "conv-cnp": System(
        _conv_cnp,
        "generative",
        "gordon2020convolutional",
        "a network on the line that moves with the support set",
        (Regression,),
        dims=1,
    ),
    "transformer-np": System(
        _transformer_np,
        "generative",
        "nguyen2022transformer",
        "a transformer whose tokens are examples",
        (Regression,),
    ),
}
