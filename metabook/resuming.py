"""The state of a training run on disk: all that is needed to go on bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabook.checkpoint import read_checkpoint, write_checkpoint
from metabook.files import write_json
from metabook.learner import MetaLearner

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class RunFiles:
    """The files of one run: ``checkpoint.pt`` and ``history.json`` in a folder."""

    folder: Path
    settings: dict[str, Any]  #: what must be the same for a resumed run to be the same run

    @property
    def path(self) -> Path:
        """The checkpoint's path."""
        return self.folder / "checkpoint.pt"

    def write(
        self,
        learner: MetaLearner,
        best: Weights | None,
        step: int,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        history: dict[str, Any],
    ) -> None:
        """Write both files. ``best``: the weights to use, those of the last step when None."""
        state = {
            "step": step,
            "settings": self.settings,
            "weights": learner.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "rng": _global_rng(generator.device),
            "history": history,
        }
        write_checkpoint(self.path, learner, best or learner.state_dict(), state)
        write_json(self.folder / "history.json", history)

    def read(
        self, learner: MetaLearner, steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> tuple[int, dict[str, Any], Weights]:
        """Put learner, optimiser and generators where the run stopped; return its step, history and best weights.

        Raises ValueError if the file is no checkpoint of this learner, holds no run, was made with other settings or
        has passed ``steps``.
        """
        content = read_checkpoint(self.path, learner)
        state = content["training"]
        if state is None:
            raise ValueError(f"resume: {self.path} holds weights only, no training run to go on with")
        then = state["settings"]
        different = [f"{k} was {then.get(k)}, now {v}" for k, v in self.settings.items() if then.get(k) != v]
        if different:
            raise ValueError(f"resume: the run in {self.folder} had other settings: {'; '.join(different)}")
        if state["step"] > steps:
            raise ValueError(f"steps: {steps} given; the run in {self.folder} has already made {state['step']}")
        learner.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        if generator.device.type == "cuda":
            torch.cuda.set_rng_state(state["rng"], generator.device)
        else:
            torch.set_rng_state(state["rng"])
        return state["step"], state["history"], content["weights"]


def _global_rng(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
