"""The whole meta-gradient as one compiled program: for small networks and many steps."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call, grad_and_value

from metabook.episode import Episode
from metabook.learner import MetaLearner

COMPILERS = ("g++", "c++", "clang++", "cl")


def compiled_gradient(learner: MetaLearner) -> Callable[[Episode], tuple[Tensor, dict[str, Tensor]]]:
    """A function episode -> (meta-loss, its gradient by parameter name), compiled as one program without breaks.

    It reads the learner's parameters at every call, so an optimiser step in between is seen. The first call compiles,
    which takes from ten seconds to minutes; so does the first call with other shapes. The inner loop is unrolled: many
    steps, or chunks of few tasks, make it long. Same loss and gradient as ``meta_loss(episode).backward()``.

    Raises RuntimeError if there is no C++ compiler, which torch.compile needs.
    """
    wanted = os.environ.get("CXX")
    if not any(shutil.which(c) for c in ((wanted,) if wanted else COMPILERS)):
        raise RuntimeError(
            f"compile: no C++ compiler found (tried {wanted or ', '.join(COMPILERS)}); install one, g++ for example, "
            "or use compile=False"
        )
    loss = _MetaLoss(learner)

    def at(theta: dict[str, Tensor], episode: Episode) -> Tensor:
        return functional_call(loss, theta, (episode,))  # frozen parameters stay the learner's own

    with _contained():
        program = torch.compile(grad_and_value(at), fullgraph=True, dynamic=False)

    def gradient(episode: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        theta = {name: p.detach() for name, p in loss.named_parameters() if p.requires_grad}
        with _contained():
            grads, value = program(theta, episode)
        return value, {name.removeprefix("learner."): g for name, g in grads.items()}

    return gradient


@contextmanager
def _contained() -> Iterator[None]:
    """What torch's compiler does to the rest of the program stays inside.

    It warns of its own deprecated parts while it starts, and turns off the checks of all distributions for good.
    """
    checks = Distribution._validate_args
    Distribution.set_default_validate_args(False)  # checks read values, which a compiled program cannot
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Distribution.set_default_validate_args(checks)


class _MetaLoss(nn.Module):
    """``meta_loss`` as a forward pass, which is what functional_call can call with other parameters."""

    def __init__(self, learner: MetaLearner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, episode: Episode) -> Tensor:
        return self.learner.meta_loss(episode)
