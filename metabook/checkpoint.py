"""Saving and loading what a learner has learned."""

from __future__ import annotations

import io
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from metabook.files import write_whole
from metabook.learner import MetaLearner

FORMAT = 1


def save(learner: MetaLearner, path: str | os.PathLike[str]) -> Path:
    """Write the learner's weights to a file, whole or not at all.

    Raises OSError if the file cannot be written.
    """
    return write_checkpoint(path, learner, learner.state_dict())


def load(learner: MetaLearner, path: str | os.PathLike[str]) -> MetaLearner:
    """Put the weights of a file (from ``save`` or ``train``) into ``learner`` and return it.

    Nothing in the file is executed: only tensors and plain values are read.

    Raises FileNotFoundError if there is no such file, and ValueError if it is not a metabook checkpoint, is damaged,
    belongs to another system or to a network of other shapes.
    """
    checkpoint = read_checkpoint(path, learner)
    learner.load_state_dict(checkpoint["weights"])
    return learner


def write_checkpoint(
    path: str | os.PathLike[str],
    learner: MetaLearner,
    weights: dict[str, torch.Tensor],
    training: dict[str, Any] | None = None,
) -> Path:
    """Write weights, and the state of a training run that wants to be resumed."""
    content = {"metabook": FORMAT, "learner": type(learner).__name__, "weights": weights, "training": training}
    buffer = io.BytesIO()  # torch.save to a full disk raises RuntimeError; Python's own write says what is wrong
    torch.save(content, buffer)
    return write_whole(path, lambda beside: beside.write_bytes(buffer.getbuffer()))


def read_checkpoint(path: str | os.PathLike[str], learner: MetaLearner) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU, after checking that it fits ``learner``. Raises as ``load`` does."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: no checkpoint at {path}; give a file written by metabook.save or train")
    try:
        content_bytes = io.BytesIO(Path(path).read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign pickles before it refuses them
            content = torch.load(content_bytes, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"path: {path} is damaged or not a metabook checkpoint, so it was not loaded") from error
    if not isinstance(content, dict) or content.get("metabook") != FORMAT:
        raise ValueError(f"path: {path} is not a metabook checkpoint of format {FORMAT}")
    weights = content.get("weights")
    if not isinstance(weights, dict) or not all(isinstance(w, torch.Tensor) for w in weights.values()):
        raise ValueError(f"path: {path} holds no weights; give a file written by metabook.save or train")
    name = type(learner).__name__
    if content.get("learner") != name:
        raise ValueError(f"path: {path} holds a {content.get('learner')}; the learner given is a {name}")
    ours = {k: list(v.shape) for k, v in learner.state_dict().items()}
    theirs = {k: list(v.shape) for k, v in weights.items()}
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise ValueError(
                f"path: {path} does not fit this {name}: weight {key!r} has shape {theirs.get(key, 'none')} in it "
                f"and {ours.get(key, 'none')} in the learner"
            )
    return content
