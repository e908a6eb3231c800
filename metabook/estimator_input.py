"""What users hand to ``FewShotClassifier``, as tensors; each mistake in one line."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data
from torch import Tensor

from metabook.ready import Ready


def are_files(X: Any) -> bool:
    """True for a list of paths. Raises TypeError for a single path, and for paths among other things."""
    if isinstance(X, (str, os.PathLike)):
        raise TypeError(f"X: one path, {str(X)!r}, given; a list of image files is needed")
    if not isinstance(X, (list, tuple)) and getattr(X, "ndim", 0) != 1:
        return False
    paths = [isinstance(value, (str, os.PathLike)) for value in X]
    if any(paths) and not all(paths):
        raise TypeError("X: paths and other things mixed; all must be image files, or numbers")
    return any(paths)


def are_vectors(X: Any, ready: Ready) -> bool:
    """True if X is for scikit-learn to check: no files, no images, at most two dimensions."""
    if are_files(X) or (ready.x_shape is not None and len(ready.x_shape) > 1):
        return False
    try:
        return (X if hasattr(X, "ndim") else np.asarray(X)).ndim <= 2
    except ValueError:  # rows of different lengths: scikit-learn says so
        return True


def as_vectors(estimator: Any, X: Any, y: Any = "no_validation") -> Any:
    """X [n, D] as float64, with labels y if they are given, checked by scikit-learn, which notes the features."""
    with_labels = not (isinstance(y, str) and y == "no_validation")
    return validate_data(estimator, _plain(X), _plain(y), dtype=np.float64, reset=with_labels)


def as_examples(X: Any, ready: Ready) -> Tensor:
    """Files, or an array or tensor [n, *X], as uint8 or floating-point examples of the learner's shape.

    Raises TypeError or ValueError for what cannot be that, and what ``Ready.read`` raises.
    """
    if are_files(X):
        return ready.read(list(X))
    try:
        array = np.asarray(_plain(X))
    except ValueError as error:
        raise ValueError("X: examples of different shapes given; make them alike, or give image files") from error
    if array.dtype.kind not in "fu" or (array.dtype.kind == "u" and array.dtype != np.uint8):
        raise TypeError(f"X: {array.dtype} given; uint8 images or floating-point numbers are needed")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"X: shape {list(array.shape)} given; needed is [n, *X] with at least one example")
    x = _arranged(torch.tensor(array), ready.x_shape)
    if x.is_floating_point():
        _check_values(x, is_image=ready.x_shape is not None and len(ready.x_shape) == 3)
    return x


def _arranged(x: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    given = tuple(x.shape[1:])
    if shape is None or given == shape:
        return x
    if len(shape) == 3:
        channels, height, width = shape
        if given == (height, width, channels):
            return x.permute(0, 3, 1, 2)
        if given == (height, width) and channels == 1:
            return x.unsqueeze(1)
    raise ValueError(f"X: examples of shape {list(given)} given; the learner was trained on {list(shape)}")


def _check_values(x: Tensor, *, is_image: bool) -> None:
    if not bool(torch.isfinite(x).all()):
        raise ValueError("X: NaN or infinite values given; all values must be finite")
    low, high = float(x.min()), float(x.max())
    if is_image and (low < 0 or high > 1):
        raise ValueError(
            f"X: values from {low:g} to {high:g} given; images are floats from 0 (paper) to 1 (ink), or uint8"
        )


def check_kind(y: Any) -> None:
    """Raise ValueError if there are no labels, or numbers among strings, which numpy would turn into strings."""
    if y is None:
        raise ValueError("y: None given; FewShotClassifier requires y to be passed, but the target y is None")
    if isinstance(y, (list, tuple)) or getattr(getattr(y, "dtype", None), "kind", "") == "O":
        strings = {isinstance(value, str) for value in y}
        if len(strings) > 1:
            raise ValueError("y: strings and other labels mixed; make all labels strings, or all numbers")


def as_labels(y: Any, x: Tensor) -> tuple[NDArray[Any], Tensor]:
    """The classes in order, [N], and each example's place among them, int64 [n].

    Raises ValueError for another number of labels than examples, labels that are no classes, and a single class.
    """
    y = column_or_1d(_plain(y), warn=True)
    check_consistent_length(x, y)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError("y: 1 class given; at least 2 classes are needed")
    return classes, torch.from_numpy(labels.astype(np.int64))


def as_none_label(none: Any, classes: NDArray[Any]) -> Any:
    """The label of what is refused: of the kind of ``classes`` and none of them. Raises ValueError otherwise."""
    strings = classes.dtype.kind in "UO"
    if none is None:
        none = "none" if strings else -1
    fits = isinstance(none, str) if strings else isinstance(none, (int, float, np.number))
    if not fits or isinstance(none, bool) or classes.dtype.kind == "b":
        raise ValueError(
            f"none_label: {none!r} given for labels of type {classes.dtype}; needed is "
            f"{'a string' if strings else 'a number, and labels that are numbers or strings'}"
        )
    if none in classes:
        raise ValueError(f"none_label: {none!r} given; that is one of the classes")
    return none


def _plain(values: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    if not isinstance(values, Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
