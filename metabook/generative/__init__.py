"""Systems that learn the distribution of tasks: what a task can be, as a code from which its predictor is made."""

from metabook.generative.cavia import CAVIA
from metabook.generative.modulated_maml import Modulated, ModulatedMAML

__all__ = ["CAVIA", "Modulated", "ModulatedMAML"]
