"""A scikit-learn classifier on top of any classifier of the book. Not imported by ``import metabook``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from metabook.calibration import Calibration, temper
from metabook.classify import Adapted, adapt, adapt_copy, log_probabilities
from metabook.estimator_input import are_vectors, as_examples, as_labels, as_none_label, as_vectors, check_kind
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.open_set import closeness
from metabook.ready import Ready, Source, build_ready, describe


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Learns your classes from a few examples each, by a learner that has seen many other classes.

    ``fit`` is one call of the learner's ``adapt``: it trains nothing, and takes as long as a prediction. Each query is
    judged by itself, also by a learner with batch statistics. Any number of classes from two, any labels that
    scikit-learn takes (numbers or strings, not both), any number of examples of each class.

    learner: the name of a pretrained learner ("glyphs"), the folder of a run that ``metabook train`` has made, or a
        ``MetaLearner``, which is copied. None: the nearest class mean of the standardised features, which needs no
        training; for vectors [n, D] only.
    reject: None, or the share of queries of known classes that may be refused, such as 0.05: ``predict`` then gives
        ``none_label`` to whatever is farther from all classes than that. It needs a calibration with thresholds.
    none_label: the label of a query that is refused. It must be of the kind of the other labels and none of them; None
        means "none" among strings and -1 among numbers.
    calibration: temperature and thresholds (``metabook.open_set.calibrate``); None: those that ship with a pretrained
        learner, else none.

    X: examples [n, *X] of the shape the learner was trained on, as array or tensor: floats, or bytes for images, which
        are divided by 255. Images of a pretrained learner or a run may also be [n, H, W] and [n, H, W, C]. Ink is 1 (or
        255), paper 0. Or a list of image files, of any size and colours: they are made alike as ``metabook predict``
        does. Arrays are taken as they are.

    Attributes after ``fit``
        classes_: [N], the labels in order.
        learner_: the learner, for N classes. shots_: [N], how many examples each had.
        x_shape_: the shape of one example. n_features_in_, feature_names_in_: of vectors alone.

    All of scikit-learn's own estimator checks pass for ``FewShotClassifier()`` (``tests/test_estimator_checks.py``).
    With ``reject`` one does not, because it uses the label -1. They use vectors; a learner for images is tested apart.
    """

    def __init__(
        self,
        learner: Source | None = None,
        *,
        reject: float | None = None,
        none_label: Any = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.learner = learner
        self.reject = reject
        self.none_label = none_label
        self.calibration = calibration

    def fit(self, X: Any, y: Any) -> FewShotClassifier:
        """Adapt the learner to the examples X with labels y, [n].

        Raises TypeError or ValueError for inputs, labels or parameters that do not fit, FileNotFoundError for a file or
        run that is not there, FloatingPointError if the learner's outputs are not finite.
        """
        ready = Ready(None) if self.learner is None else describe(self.learner)
        calibration = ready.calibration if self.calibration is None else self.calibration
        if not isinstance(calibration, Calibration):
            raise TypeError(f"calibration: {calibration!r} given; a metabook.calibration.Calibration is needed")
        threshold = None if self.reject is None else calibration.threshold(self.reject)
        check_kind(y)
        vectors = are_vectors(X, ready)
        if self.learner is None and not vectors:
            raise ValueError("learner: None given, which is for vectors [n, D]; images need one, such as 'glyphs'")
        if vectors:
            X, y = as_vectors(self, X, y)
        x = torch.tensor(X) if vectors else as_examples(X, ready)
        classes, labels = as_labels(y, x)
        none = None if threshold is None else as_none_label(self.none_label, classes)
        if isinstance(self.learner, MetaLearner):
            adapted = adapt_copy(self.learner, x, labels)
        elif self.learner is None:
            adapted = adapt(ProtoNet(_Standardised(x), Classification(len(classes))), x, labels)
        else:
            adapted = adapt(build_ready(self.learner, len(classes)), x, labels)
        self._fitted = _Fitted(ready, vectors, adapted, calibration.temperature, threshold, none)
        self.classes_, self.learner_, self.x_shape_ = classes, adapted.learner, tuple(x.shape[1:])
        self.shots_ = np.bincount(labels.numpy())
        return self

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Log-probability of each of ``classes_``, [n, N], at the calibrated temperature. Raises as ``fit`` does."""
        fitted, x = self._queries(X)
        return temper(log_probabilities(fitted.adapted, x), fitted.temperature).numpy()

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each of ``classes_``, [n, N], also for queries that ``predict`` refuses. Raises as ``fit``."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each example, [n]; with ``reject``, ``none_label`` for what is near none of them.

        Its type is that of ``classes_``, wide enough for ``none_label``. Raises as ``fit`` does, and NotFittedError.
        """
        fitted, x = self._queries(X)
        said = self.classes_[log_probabilities(fitted.adapted, x).argmax(1).numpy()]
        if fitted.threshold is None:
            return said
        far = closeness(fitted.adapted, x).numpy() < fitted.threshold
        return np.where(far, np.asarray(fitted.none), said)

    def closeness(self, X: Any) -> NDArray[Any]:
        """How well each example fits the nearest class, [n]; higher is closer (``metabook.open_set.closeness``)."""
        fitted, x = self._queries(X)
        return closeness(fitted.adapted, x).numpy()

    def _queries(self, X: Any) -> tuple[_Fitted, Tensor]:
        check_is_fitted(self, "classes_")
        fitted = self._fitted
        if fitted.vectors and are_vectors(X, fitted.ready):
            return fitted, torch.tensor(as_vectors(self, X))
        x = as_examples(X, fitted.ready)
        if tuple(x.shape[1:]) != self.x_shape_:
            raise ValueError(
                f"X: examples of shape {list(x.shape[1:])} given; the labelled ones had {list(self.x_shape_)}"
            )
        return fitted, x


class _Fitted(NamedTuple):
    """What ``fit`` leaves for predictions."""

    ready: Ready
    vectors: bool
    adapted: Adapted
    temperature: float
    threshold: float | None
    none: Any


class _Standardised(nn.Module):
    """Each feature less its mean over the labelled examples, divided by its standard deviation: [B, S, D] -> same."""

    takes_tasks = True
    centre: Tensor  #: [D]
    scale: Tensor  #: [D], 1 for a feature that is constant

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", x.mean(0))
        deviation = x.std(0, correction=0)
        constant = deviation <= 1e-12 * x.abs().amax(0)
        self.register_buffer("scale", torch.where(constant, 1.0, deviation))

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]."""
        return (x - self.centre) / self.scale
