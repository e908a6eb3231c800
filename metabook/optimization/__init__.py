"""Systems that learn how to move: initialisations, step rules and optimisers."""

from metabook.optimization.anil import ANIL
from metabook.optimization.engine import OptimizationEngine
from metabook.optimization.hand_made import HandMade, tune
from metabook.optimization.learned_optimizer import LearnedOptimizer
from metabook.optimization.lstm_meta_learner import LSTMMetaLearner
from metabook.optimization.maml import MAML
from metabook.optimization.maml_plus_plus import MAMLPlusPlus, step_importance
from metabook.optimization.meta_regularised import MRMAML
from metabook.optimization.meta_sgd import MetaSGD
from metabook.optimization.regularised import RegularisedMAML
from metabook.optimization.reptile import Reptile

__all__ = [
    "ANIL",
    "MAML",
    "MRMAML",
    "HandMade",
    "LSTMMetaLearner",
    "LearnedOptimizer",
    "MAMLPlusPlus",
    "MetaSGD",
    "OptimizationEngine",
    "RegularisedMAML",
    "Reptile",
    "step_importance",
    "tune",
]
