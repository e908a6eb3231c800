"""The state of a training run on disk: all that is needed to go on bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabook.checkpoint import read_checkpoint, write_checkpoint
from metabook.files import write_json
from metabook.learner import MetaLearner

Weights = dict[str, Tensor]


class Past(NamedTuple):
    """What a stopped run left."""

    settings: dict[str, Any]
    step: int
    history: dict[str, Any]
    best: Weights
    state: dict[str, Any]

    def restore(self, learner: MetaLearner, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Put learner, optimiser and generators where the run stopped."""
        learner.load_state_dict(self.state["weights"])
        optimizer.load_state_dict(self.state["optimizer"])
        generator.set_state(self.state["generator"])
        if generator.device.type == "cuda":
            torch.cuda.set_rng_state(self.state["rng"], generator.device)
        else:
            torch.set_rng_state(self.state["rng"])


@dataclass(frozen=True)
class RunFiles:
    """The files of one run: ``checkpoint.pt`` and ``history.json`` in a folder."""

    folder: Path

    @property
    def path(self) -> Path:
        """The checkpoint's path."""
        return self.folder / "checkpoint.pt"

    def write(
        self,
        learner: MetaLearner,
        best: Weights | None,
        settings: dict[str, Any],
        step: int,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        history: dict[str, Any],
    ) -> None:
        """Write both files. ``best``: the weights to use, those of the last step when None."""
        state = {
            "step": step,
            "settings": settings,
            "weights": learner.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "rng": _global_rng(generator.device),
            "history": history,
        }
        write_checkpoint(self.path, learner, best or learner.state_dict(), state)
        write_json(self.folder / "history.json", history)

    def read(self, learner: MetaLearner, settings: dict[str, Any], steps: int) -> Past:
        """What the run left. A setting that is None is taken from the run; the others must be the run's own.

        Raises ValueError if the file is no checkpoint of this learner, holds no run, was made with other settings or
        has passed ``steps``.
        """
        content = read_checkpoint(self.path, learner)
        state = content["training"]
        if state is None:
            raise ValueError(f"resume: {self.path} holds weights only, no training run to go on with")
        then = state["settings"]
        different = [
            f"{k} was {then.get(k)}, now {v}" for k, v in settings.items() if v is not None and then.get(k) != v
        ]
        if different:
            raise ValueError(f"resume: the run in {self.folder} had other settings: {'; '.join(different)}")
        if state["step"] > steps:
            raise ValueError(f"steps: {steps} given; the run in {self.folder} has already made {state['step']}")
        return Past(then, state["step"], state["history"], content["weights"], state)


def _global_rng(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
