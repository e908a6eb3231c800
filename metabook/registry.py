"""The one list of systems and task distributions that tests, benchmark, command line and results iterate over."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from metabook.baselines import Joint
from metabook.device import make_generator
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood, Regression
from metabook.metric import ProtoNet
from metabook.nn import MLP, Conv4, Pixels
from metabook.optimization import MAML
from metabook.tasks.families import TASKS, TaskFamily
from metabook.tasks.protocol import Tasks

Shape = tuple[int, ...]
BOTH = (Regression, Classification)


class System(NamedTuple):
    """One entry: how to build a learner of sensible size for inputs of a shape and targets of a kind."""

    build: Callable[..., MetaLearner]  #: (x_shape, likelihood, **options) -> learner
    chapter: str
    paper: str
    idea: str
    kinds: tuple[type[Likelihood], ...] = BOTH  #: the kinds of target it can learn

    def options(self) -> dict[str, Any]:
        """Option name -> default value."""
        return {n: p.default for n, p in inspect.signature(self.build).parameters.items() if p.kind is p.KEYWORD_ONLY}


def network(x_shape: Shape, outputs: int | None, *, width: int | None = None, norm: str = "batch") -> nn.Module:
    """The usual backbone for an input: Conv4 for images [C, H, W], an MLP for vectors.

    outputs: None for features (64 of them from an MLP).
    """
    if len(x_shape) == 3:
        return Conv4(x_shape[0], outputs, width=64 if width is None else width, size=min(x_shape[1:]), norm=norm)
    hidden = 40 if width is None else width
    return MLP(math.prod(x_shape), 64 if outputs is None else outputs, hidden=(hidden, hidden))


def _maml(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    first_order: bool = False,
    width: int | None = None,
    norm: str = "batch",
) -> MAML:
    net = network(x_shape, likelihood.size, width=width, norm=norm)
    if inner_lr is None:  # the paper's: 0.4 for Omniglot, 0.01 for the sinusoid
        inner_lr = 0.4 if len(x_shape) == 3 else 0.01
    return MAML(net, likelihood, inner_lr=inner_lr, inner_steps=inner_steps, first_order=first_order)


def _maml_first_order(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 1,
    width: int | None = None,
    norm: str = "batch",
) -> MAML:
    return _maml(
        x_shape, likelihood, inner_lr=inner_lr, inner_steps=inner_steps, first_order=True, width=width, norm=norm
    )


def _prototypical(
    x_shape: Shape, likelihood: Classification, *, width: int | None = None, norm: str = "batch"
) -> ProtoNet:
    return ProtoNet(network(x_shape, None, width=width, norm=norm), likelihood)


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


SYSTEMS: dict[str, System] = {
    "maml": System(_maml, "optimization", "finn2017maml", "a start from which a few gradient steps solve a new task"),
    "maml-first-order": System(
        _maml_first_order, "optimization", "finn2017maml", "MAML that takes the inner gradients as constants"
    ),
    "prototypical": System(
        _prototypical, "metric", "snell2017prototypical", "the nearest class mean in a learned space", (Classification,)
    ),
    "joint": System(_joint, "formalism", "", "one network for all tasks, no adaptation (baseline)"),
    "joint-fine-tuned": System(_joint_fine_tuned, "formalism", "", "the joint network, then gradient steps (baseline)"),
    "nearest-pixels": System(
        _nearest_pixels, "formalism", "", "the nearest class mean of raw inputs (baseline)", (Classification,)
    ),
}


def find(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """``known[name]``; else ValueError that lists the names and suggests the nearest."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{kind}: {name!r} given; known are {', '.join(known)}{hint}")
    return known[name]


def check_options(owner: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that ``owner`` does not have."""
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: not an option of {owner}; it has {', '.join(known) or 'none'}")


def build(system: str, tasks: Tasks, *, seed: int = 0, **options: Any) -> MetaLearner:
    """A new learner of a registered system, of sensible size for ``tasks``; ``seed`` fixes its first weights.

    Options are the system's own (``SYSTEMS[system].options()``), for example ``inner_lr``.

    Raises ValueError for an unknown system or option, or a system that cannot learn this kind of target.
    """
    entry: System = find("system", system, SYSTEMS)
    check_options(system, options, entry.options())
    if not isinstance(tasks.likelihood, entry.kinds):
        kinds = " or ".join(k.__name__.lower() for k in entry.kinds)
        raise ValueError(f"system: {system} does {kinds}; these tasks are {type(tasks.likelihood).__name__.lower()}")
    make_generator(torch.device("cpu"), seed)  # checks the seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return entry.build(tasks.x_shape, tasks.likelihood, **options)


def make_tasks(name: str, *, part: str = "train", **options: Any) -> Tasks:
    """A registered task distribution; ``part`` is train, validation or test, whose tasks are disjoint.

    Options are the family's own (``TASKS[name].options()``), for example ``way`` and ``shots``; a folder of images is
    ``folder:PATH``.

    Raises ValueError for an unknown name, part or option, and what the data set raises when it cannot be read.
    """
    family_name, _, place = name.partition(":")
    family: TaskFamily = find("tasks", family_name, TASKS)
    if place:
        options = {"path": place, **options}
    check_options(family_name, options, family.options())
    return family.build(part, **options)
