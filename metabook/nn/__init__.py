"""Backbones and layers that are safe to differentiate twice, for one task or many at once."""

from metabook.nn.layers import Conv2d, GroupNorm, Linear, MaxPool2d, TaskBatchNorm
from metabook.nn.networks import MLP, Conv4, Pixels
from metabook.nn.relation_module import FeatureMaps, RelationModule
from metabook.nn.task_encoder import TaskEncoder

__all__ = [
    "MLP",
    "Conv2d",
    "Conv4",
    "FeatureMaps",
    "GroupNorm",
    "Linear",
    "MaxPool2d",
    "Pixels",
    "RelationModule",
    "TaskBatchNorm",
    "TaskEncoder",
]
