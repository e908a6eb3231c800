"""Learners that have been trained, by name: one that ships with the package, or a run folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabook import pretrained
from metabook.calibration import Calibration
from metabook.data import folder
from metabook.data.framing import BOX, LARGE_BOX, frame_ink
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.runs import load_learner, read_config

CHARACTERS = ("glyphs", "omniglot")  #: whose letters fill a frame: the reader's drawings are put into the same one
LARGE = 224  # pixels, before that
Source = MetaLearner | str | os.PathLike[str]
Paths = Sequence[str | os.PathLike[str]]


class Ready(NamedTuple):
    """What is known of the inputs of a trained learner, and of its confidence."""

    x_shape: tuple[int, ...] | None  #: of one example; None for a learner that was given itself
    fill: float | None = None  #: the part of a side that the ink of an image file is made to fill; None: as it is
    calibration: Calibration = Calibration()

    def read(self, paths: Paths) -> Tensor:
        """Image files as the learner needs them, uint8 [n, 1, H, W]: grey, ink 255 on paper 0.

        Raises ValueError if the learner is not one for grey images of a known size, and what
        ``metabook.data.folder.load_images`` raises.
        """
        if self.x_shape is None or len(self.x_shape) != 3 or self.x_shape[0] != 1:
            shape = "unknown shape" if self.x_shape is None else f"shape {list(self.x_shape)}"
            raise ValueError(f"learner: trained on inputs of {shape}; image files need one trained on grey images")
        size = self.x_shape[1]
        if self.fill is None:
            return folder.load_images(paths, size=size)
        return torch.cat(
            [frame_ink(folder.load_images([path], size=LARGE), size=size, fill=self.fill) for path in paths]
        )


def describe(source: Source) -> Ready:
    """What is known of a learner: the name of a pretrained one, a run folder, or the learner itself.

    Raises TypeError for anything else, ValueError or FileNotFoundError for a name or folder that is not there or
    damaged, ValueError for a run that was not trained to classify.
    """
    if isinstance(source, MetaLearner):
        return Ready(None)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"learner: {type(source).__name__} given; needed is a MetaLearner, the name of a pretrained learner "
            f"({', '.join(pretrained.names())}) or a run folder"
        )
    if not is_run(source):
        if source not in pretrained.names():
            known = ", ".join(pretrained.names())
            raise ValueError(f"learner: {str(source)!r} given; there is no such run folder, and pretrained are {known}")
        card = pretrained.card(str(source))
        thresholds = tuple(card["calibration"]["thresholds"])
        calibration = Calibration(card["calibration"]["temperature"], thresholds)
        return Ready(tuple(card["x_shape"]), _fill(card["tasks"], card["settings"]["task_options"]), calibration)
    config = read_config(source)
    if config["likelihood"]["kind"] != "classification":
        raise ValueError(f"learner: the run {source} was trained on {config['tasks']}; a classifier is needed")
    return Ready(tuple(config["x_shape"]), _fill(config["tasks"], config["task_options"]))


def _fill(tasks: str, task_options: Mapping[str, Any]) -> float | None:
    """How much of a side the ink of drawings like those of training fills."""
    if tasks not in CHARACTERS:
        return None
    return LARGE_BOX if task_options.get("framed") else BOX


def build_ready(name: str | os.PathLike[str], way: int, options: Mapping[str, Any] | None = None) -> MetaLearner:
    """The learner of a name or a run folder, for ``way`` classes, in evaluation mode.

    options: options of its system to change, such as ``inner_steps``.

    Raises as ``describe``, and ValueError for a learner whose number of classes is fixed to another.
    """
    if not is_run(name):
        return pretrained.load(str(name), way=way, **(options or {}))
    return load_learner(name, likelihood=Classification(way), options=options)


def is_run(source: str | os.PathLike[str]) -> bool:
    """True for what is a path: not a plain name, or a folder that is there."""
    return Path(source).name != str(source) or Path(source).is_dir()
