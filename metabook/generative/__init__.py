"""Systems that learn the distribution of tasks: what a task can be, as a code from which its predictor is made."""

from metabook.generative.cavia import CAVIA
from metabook.generative.leo import LEO, Generated
from metabook.generative.metagan import MetaGAN, real_odds
from metabook.generative.modulated_maml import Modulated, ModulatedMAML
from metabook.generative.one_shot_generator import OneShotGenerator, squared_error

__all__ = [
    "CAVIA",
    "MetaGAN",
    "Modulated",
    "ModulatedMAML",
    "OneShotGenerator",
    "real_odds",
    "squared_error",
    "Generated",
    "LEO",
]
