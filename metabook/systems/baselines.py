"""The baselines that every chapter compares with."""

from __future__ import annotations

from metabook.baselines import ExactGP, FittedGP, Joint, ModifiedHausdorff
from metabook.likelihood import Classification, Likelihood, Regression
from metabook.metric import ProtoNet
from metabook.nn import Pixels
from metabook.systems.entry import Shape, System, network


def _joint(x_shape: Shape, likelihood: Likelihood, *, width: int | None = None, norm: str = "batch") -> Joint:
    return Joint(network(x_shape, likelihood.size, width=width, norm=norm), likelihood)


def _joint_fine_tuned(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    fine_tune_lr: float = 0.01,
    fine_tune_steps: int = 10,
    width: int | None = None,
    norm: str = "batch",
) -> Joint:
    net = network(x_shape, likelihood.size, width=width, norm=norm)
    return Joint(net, likelihood, fine_tune_lr=fine_tune_lr, fine_tune_steps=fine_tune_steps)


def _nearest_pixels(x_shape: Shape, likelihood: Classification) -> ProtoNet:
    return ProtoNet(Pixels(), likelihood)


def _modified_hausdorff(x_shape: Shape, likelihood: Classification, *, threshold: float = 0.5) -> ModifiedHausdorff:
    return ModifiedHausdorff(likelihood, threshold=threshold)


def _exact_gp(
    x_shape: Shape,
    likelihood: Regression,
    *,
    length_scale: float | tuple[float, float] = (0.25, 1.0),
    noise: float = 0.05,
    kernel: str = "rbf",
    nodes: int = 16,
    told: bool = False,
) -> ExactGP:
    _on_a_line(x_shape, likelihood, 1 + told)
    return ExactGP(length_scale=length_scale, noise=noise, kernel=kernel, nodes=nodes, told=told)


def _fitted_gp(
    x_shape: Shape,
    likelihood: Regression,
    *,
    length_scale: tuple[float, float] = (0.25, 1.0),
    noise: float = 0.05,
    kernel: str = "rbf",
) -> FittedGP:
    _on_a_line(x_shape, likelihood, 1)
    return FittedGP(length_scale=length_scale, noise=noise, kernel=kernel)


def _on_a_line(x_shape: Shape, likelihood: Regression, needed: int) -> None:
    if x_shape != (needed,) or likelihood.size != 1:
        given = f"inputs of shape {list(x_shape)} and {likelihood.size} targets given"
        raise ValueError(f"tasks: {given}; this Gaussian process needs inputs of shape [{needed}] and one target")


SYSTEMS: dict[str, System] = {
    "joint": System(_joint, "formalism", "", "one network for all tasks, no adaptation (baseline)"),
    "joint-fine-tuned": System(_joint_fine_tuned, "formalism", "", "the joint network, then gradient steps (baseline)"),
    "nearest-pixels": System(
        _nearest_pixels, "formalism", "", "the nearest class mean of raw inputs (baseline)", (Classification,)
    ),
    "modified-hausdorff": System(
        _modified_hausdorff,
        "metric",
        "dubuisson1994modified",
        "the nearest drawing, by how far its ink is from the other's (baseline)",
        (Classification,),
    ),
    "exact-gp": System(
        _exact_gp,
        "generative",
        "rasmussen2006gaussian",
        "the exact posterior of a Gaussian process whose kernel is known (optimum)",
        (Regression,),
        dims=1,
    ),
    "fitted-gp": System(
        _fitted_gp,
        "generative",
        "rasmussen2006gaussian",
        "a Gaussian process with a length-scale fitted to each task (baseline)",
        (Regression,),
        dims=1,
    ),
}
