"""Trained learners that ship with the package: weights as safetensors, and a card that says where they come from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from torch import Tensor

from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.registry import build, find
from metabook.tasks.protocol import Tasks

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names that ``load`` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def card(name: str) -> dict[str, Any]:
    """What is known of a pretrained learner: data, command, seed, scores, calibration, versions, licence.

    Raises ValueError for an unknown name, or a card that is damaged.
    """
    find("pretrained", name, dict.fromkeys(names()))
    path = FOLDER / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"pretrained: {path} cannot be read ({error}); install the package again") from error
    return content


def load(name: str, *, way: int = 5, **options: Any) -> MetaLearner:
    """A pretrained learner for ``way`` classes, on the CPU, in evaluation mode.

    Its inputs are float images in [0, 1], [B, S, *x_shape] with the card's ``x_shape``, ink 1 on paper 0.

    Raises ValueError for an unknown name or option, FileNotFoundError or ValueError if the weights are gone, damaged or
    not those of the card; TypeError or ValueError for a wrong number of ways.
    """
    said = card(name)
    described = cast(Tasks, SimpleNamespace(likelihood=Classification(way), x_shape=tuple(said["x_shape"])))
    learner = build(said["system"], described, **{**said["settings"]["options"], **options})
    learner.load_state_dict(_weights(FOLDER / f"{name}.safetensors", said["sha256"], learner))
    return learner.eval()


def _weights(path: Path, sha256: str, learner: MetaLearner) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise FileNotFoundError(f"pretrained: no weights at {path}; install the package again")
    content = path.read_bytes()
    try:
        weights = load(content)
    except SafetensorError as error:
        raise ValueError(f"pretrained: {path} is damaged ({error}); install the package again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"pretrained: {path} is not the file that its card describes; install the package again")
    ours = {key: list(value.shape) for key, value in learner.state_dict().items()}
    theirs = {key: list(value.shape) for key, value in weights.items()}
    if ours != theirs:
        raise ValueError(f"pretrained: {path} does not fit; it has {theirs}, the learner {ours}")
    return weights
