"""What the list of systems is made of: one entry a system, and the network that a system of usual size has."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from metabook.checks import check_choice, check_count
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood, Regression
from metabook.mapping import run
from metabook.nn import MLP, CellNet, Conv4
from metabook.nn.networks import NORMS

Shape = tuple[int, ...]
BOTH = (Regression, Classification)


class System(NamedTuple):
    """One entry: how to build a learner of sensible size for inputs of a shape and targets of a kind."""

    build: Callable[..., MetaLearner]  #: (x_shape, likelihood, **options) -> learner
    chapter: str
    paper: str
    idea: str
    kinds: tuple[type[Likelihood], ...] = BOTH  #: the kinds of target it can learn
    dims: int | None = None  #: the one number of input dimensions it takes; None for any
    steps: tuple[int, int] = (20_000, 500)  #: usual meta-updates on vectors, on images: minutes on two cores

    def options(self) -> dict[str, Any]:
        """Option name -> default value."""
        return {n: p.default for n, p in inspect.signature(self.build).parameters.items() if p.kind is p.KEYWORD_ONLY}


def network(
    x_shape: Shape,
    outputs: int | None,
    *,
    layers: tuple[int, ...] | None = None,
    width: int | None = None,
    norm: str = "batch",
) -> nn.Module:
    """The usual backbone for an input: Conv4 for images [C, H, W], an MLP for vectors.

    outputs: None for features (64 of them from an MLP). layers: hidden widths of an MLP, for inputs of any shape.
    """
    check_choice("norm", norm, NORMS)  # of an MLP too, which has none: a misspelt option should not pass there
    if layers is not None:
        return MLP(math.prod(x_shape), 64 if outputs is None else outputs, hidden=layers)
    if len(x_shape) == 3:
        return Conv4(x_shape[0], outputs, width=64 if width is None else width, size=min(x_shape[1:]), norm=norm)
    hidden = 40 if width is None else check_count("width", width)
    return MLP(math.prod(x_shape), 64 if outputs is None else outputs, hidden=(hidden, hidden))


def cell(x_shape: Shape, outputs: int, operations: str, *, nodes: int = 1, width: int | None = None) -> CellNet:
    """A cell with a head, of 20 features, or 8 channels on a quarter of the pixels a side.

    operations: their names with commas between them, or "" for all there are; mixed in equal parts, or as a task says.
    """
    image = len(x_shape) == 3
    return CellNet(
        x_shape,
        outputs,
        operations=operations.split(",") if operations else None,
        nodes=nodes,
        width=(8 if image else 20) if width is None else width,
        side=x_shape[1] // 4 if image else 1,
    )


def inner_rate(x_shape: Shape) -> float:
    """The usual rate of an inner gradient step: 0.4 for images, 0.01 for vectors (Finn et al. 2017, app. A)."""
    return 0.4 if len(x_shape) == 3 else 0.01


def outputs_of(body: nn.Module, x_shape: Shape) -> int:
    """How many features a body makes of an input."""
    with torch.no_grad():
        return run(body, torch.zeros(1, 2, *x_shape)).shape[-1]  # of two blank examples
