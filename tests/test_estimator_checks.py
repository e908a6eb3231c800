"""scikit-learn's own checks of an estimator: all pass as it comes; with ``reject`` one cannot, and is named here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from metabook.calibration import LEVELS, Calibration
from metabook.estimator import FewShotClassifier
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import Pixels

# One is skipped by scikit-learn itself, unless SCIPY_ARRAY_API is set: check_array_api_input.
FAR = Calibration(2.0, tuple(-1e6 - i for i in reversed(range(len(LEVELS)))))  # refuses nothing near
CANNOT = {"check_classifiers_classes": "has the labels -1 and 1, and -1 is the label of what is refused"}


@parametrize_with_checks(
    [FewShotClassifier(), FewShotClassifier(reject=0.05, calibration=FAR)],
    expected_failed_checks=lambda estimator: CANNOT if estimator.reject else {},
)
def test_check_of_scikit_learn(estimator, check):
    check(estimator)


def test_a_learner_on_vectors_passes_those_that_a_classifier_needs():
    """The rest of the checks take data of several widths, which a trained learner has not; this one takes any."""
    torch.manual_seed(0)
    classifier = FewShotClassifier(ProtoNet(Pixels(), Classification(5)))
    for check in (
        estimator_checks.check_classifiers_classes,
        estimator_checks.check_classifiers_one_label,
        estimator_checks.check_estimators_pickle,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_fit_idempotent,
        estimator_checks.check_dict_unchanged,
        estimator_checks.check_methods_sample_order_invariance,
        estimator_checks.check_n_features_in_after_fitting,
        estimator_checks.check_classifiers_regression_target,
    ):
        check("FewShotClassifier", classifier)


def test_the_checks_would_see_a_mistake():
    class Forgets(FewShotClassifier):
        def predict(self, X):
            return np.full(len(X), self.classes_[0])

    with pytest.raises(AssertionError):
        estimator_checks.check_classifiers_train("Forgets", Forgets())
