"""The baselines that every chapter compares with."""

from __future__ import annotations

from metabook.baselines import Joint, ModifiedHausdorff
from metabook.likelihood import Classification, Likelihood
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
}
