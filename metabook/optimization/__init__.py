"""Systems that learn how to move: initialisations, step rules and optimisers."""

from metabook.optimization.anil import ANIL
from metabook.optimization.hand_made import HandMade, tune
from metabook.optimization.learned_optimizer import LearnedOptimizer
from metabook.optimization.maml import MAML
from metabook.optimization.meta_regularised import MRMAML
from metabook.optimization.meta_sgd import MetaSGD
from metabook.optimization.regularised import RegularisedMAML

__all__ = ["ANIL", "MAML", "MRMAML", "HandMade", "LearnedOptimizer", "MetaSGD", "RegularisedMAML", "tune"]
