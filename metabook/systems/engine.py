"""The system of the optimization chapter that writes an optimiser for each task."""

from __future__ import annotations

from metabook.likelihood import Likelihood
from metabook.optimization import OptimizationEngine
from metabook.systems.entry import Shape, System, network


def _engine(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 5,
    per_step: bool = False,
    per_weight: bool = False,
    shared: bool = False,
    code: int = 16,
    ceiling: float | None = 1.0,
    first_order: bool = False,
    layers: tuple[int, ...] | None = None,
    width: int | None = None,
    norm: str = "batch",
) -> OptimizationEngine:
    rate = 0.1 if len(x_shape) == 3 else 0.01  # those of MAML's five steps (Finn et al. 2017, app. A) and of vectors
    return OptimizationEngine(
        network(x_shape, likelihood.size, layers=layers, width=width, norm=norm),
        likelihood,
        x_shape=x_shape,
        inner_lr=rate if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        per_step=per_step,
        per_weight=per_weight,
        shared=shared,
        code=code,
        ceiling=ceiling,
        first_order=first_order,
    )


SYSTEMS: dict[str, System] = {
    "optimization-engine": System(
        _engine,
        "optimization",
        "",
        "a network that reads the support set and writes the optimiser for it",
        steps=(5_000, 120),
    ),
}
