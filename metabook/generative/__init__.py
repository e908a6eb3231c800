"""Systems that learn the distribution of tasks: what a task can be, as a code from which its predictor is made."""

from metabook.generative.attentive_cnp import AttentiveCNP, Memory
from metabook.generative.attentive_neural_process import AttentiveNeuralProcess, LatentMemory
from metabook.generative.cavia import CAVIA
from metabook.generative.cnp import CNP
from metabook.generative.conv_cnp import Anchored, ConvCNP
from metabook.generative.leo import LEO, Generated
from metabook.generative.metagan import MetaGAN, real_odds
from metabook.generative.modulated_maml import Modulated, ModulatedMAML
from metabook.generative.neural_process import NeuralProcess
from metabook.generative.one_shot_generator import OneShotGenerator, squared_error
from metabook.generative.transformer_np import TransformerNP

__all__ = [
    "CAVIA",
    "CNP",
    "LEO",
    "Anchored",
    "AttentiveCNP",
    "AttentiveNeuralProcess",
    "ConvCNP",
    "Generated",
    "LatentMemory",
    "Memory",
    "MetaGAN",
    "Modulated",
    "ModulatedMAML",
    "NeuralProcess",
    "OneShotGenerator",
    "TransformerNP",
    "real_odds",
    "squared_error",
]
