"""Backbones and layers that are safe to differentiate twice, for one task or many at once."""

from metabook.nn.layers import Conv2d, GroupNorm, Linear, MaxPool2d, TaskBatchNorm
from metabook.nn.networks import MLP, Conv4, Pixels
from metabook.nn.relation_module import FeatureMaps, RelationModule
from metabook.nn.strided import RunningNorm, Strided
from metabook.nn.task_encoder import TaskEncoder
from metabook.nn.temporal import AttentionBlock, Causal, CausalChain, DenseBlock, tc_block

__all__ = [
    "MLP",
    "AttentionBlock",
    "Causal",
    "CausalChain",
    "Conv2d",
    "Conv4",
    "DenseBlock",
    "FeatureMaps",
    "GroupNorm",
    "Linear",
    "MaxPool2d",
    "Pixels",
    "RelationModule",
    "RunningNorm",
    "Strided",
    "TaskBatchNorm",
    "TaskEncoder",
    "tc_block",
]
