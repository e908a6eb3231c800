"""Backbones and layers that are safe to differentiate twice, for one task or many at once."""

from metabook.nn.attention import MultiHead, RMSNorm, TransformerBlock
from metabook.nn.augmented import Augmented, AugmentedNet
from metabook.nn.cell import CellNet
from metabook.nn.class_encoder import ClassEncoder
from metabook.nn.deform import Deform, PairNet
from metabook.nn.discriminator import Discriminator
from metabook.nn.film import AppendContext, Chain, ContextFilm, Film, add_film, insert_film
from metabook.nn.first_look import FirstLook
from metabook.nn.layers import Conv2d, GroupNorm, Linear, MaxPool2d, TaskBatchNorm
from metabook.nn.memory_read import MemoryRead
from metabook.nn.network_generator import NetworkGenerator
from metabook.nn.networks import MLP, Conv4, Pixels, SideBySide
from metabook.nn.pair_encoder import PairEncoder
from metabook.nn.pair_means import PairMeans
from metabook.nn.relation_module import FeatureMaps, RelationModule
from metabook.nn.set_conv import GridNet, SetConv
from metabook.nn.set_encoder import LatentEncoder
from metabook.nn.strided import RunningNorm, Strided
from metabook.nn.task_encoder import TaskEncoder
from metabook.nn.task_generator import TaskGenerator
from metabook.nn.temporal import AttentionBlock, Causal, CausalChain, DenseBlock, tc_block
from metabook.nn.waves import Waves
from metabook.nn.weight_generator import WeightGenerator
from metabook.nn.weight_writers import GradientMLP, GradientSummary

__all__ = [
    "MLP",
    "AppendContext",
    "AttentionBlock",
    "Augmented",
    "AugmentedNet",
    "Causal",
    "CausalChain",
    "CellNet",
    "Chain",
    "ClassEncoder",
    "ContextFilm",
    "Conv2d",
    "Conv4",
    "Deform",
    "DenseBlock",
    "Discriminator",
    "FeatureMaps",
    "Film",
    "FirstLook",
    "GradientMLP",
    "GradientSummary",
    "GridNet",
    "GroupNorm",
    "LatentEncoder",
    "Linear",
    "MaxPool2d",
    "MemoryRead",
    "MultiHead",
    "NetworkGenerator",
    "PairEncoder",
    "PairMeans",
    "PairNet",
    "Pixels",
    "RMSNorm",
    "RelationModule",
    "RunningNorm",
    "SetConv",
    "SideBySide",
    "Strided",
    "TaskBatchNorm",
    "TaskEncoder",
    "TaskGenerator",
    "TransformerBlock",
    "Waves",
    "WeightGenerator",
    "add_film",
    "insert_film",
    "tc_block",
]
