"""Learners that stand beside the systems in a table and are none of them: each is for one kind of tasks alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metabook.baselines import BayesClusters, BayesFunctions
from metabook.enlarged import Enlarged
from metabook.generative import OneShotGenerator
from metabook.likelihood import Classification, Regression
from metabook.nn import Deform, PairNet
from metabook.systems.entry import Shape, System
from metabook.tasks.distort import Distort

CODE = 16  #: numbers in the code of a drawing


def _bayes_clusters(
    x_shape: Shape, likelihood: Classification, *, spread: float = 3.0, noise: float = 1.0
) -> BayesClusters:
    if len(x_shape) != 1:
        raise ValueError(f"system: bayes-clusters is for points; inputs {list(x_shape)} given")
    return BayesClusters(likelihood.size, spread=spread, noise=noise)


def _bayes_functions(
    x_shape: Shape, likelihood: Regression, *, modes: int = 5, noise: float = 0.3, nodes: int = 64
) -> BayesFunctions:
    return BayesFunctions(modes=modes, noise=noise, nodes=nodes)


def _nearest_copy(
    x_shape: Shape, likelihood: Classification, *, copies: int = 10, blurred: bool = False, seed: int = 0
) -> Enlarged:
    return Enlarged(distorted_and_blurred if blurred else Distort(), likelihood, copies=copies, seed=seed)


def _one_shot_generator(
    x_shape: Shape,
    likelihood: Classification,
    *,
    copies: int = 10,
    beta: float = 1.0,
    bound: bool = True,
    game: float = 0.0,
    width: int = 128,
) -> OneShotGenerator:
    """bound: with an encoder. game: its weight; 0: without a critic."""
    if len(x_shape) != 3 or x_shape[0] != 1 or x_shape[1] != x_shape[2]:
        raise ValueError(f"system: one-shot-generator bends square drawings [1, H, H]; inputs {list(x_shape)} given")
    size = x_shape[1]
    return OneShotGenerator(
        Deform(CODE, width=width),
        likelihood,
        code=CODE,
        encoder=PairNet(2 * CODE, size=size) if bound else None,
        critic=PairNet(1, size=size) if game else None,
        copies=copies,
        beta=beta,
        game=game,
    )


def distorted_and_blurred(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images [n, C, H, W], distorted, then averaged over squares of three pixels, twice."""
    x = Distort()(x, generator)
    for _ in range(2):
        x = F.avg_pool2d(x, 3, 1, 1)
    return x


SYSTEMS: dict[str, System] = {
    "bayes-clusters": System(
        _bayes_clusters, "metric", "", "Bayes' rule for Gaussian clusters of known size", (Classification,)
    ),
    "bayes-functions": System(
        _bayes_functions, "generative", "", "the posterior mean of functions of several families", (Regression,), dims=1
    ),
    "nearest-copy": System(
        _nearest_copy, "generative", "", "the nearest of the support images and distorted copies", (Classification,)
    ),
    "one-shot-generator": System(
        _one_shot_generator,
        "generative",
        "antoniou2017dagan",
        "the nearest of the support images and drawings generated from each",
        (Classification,),
    ),
}
