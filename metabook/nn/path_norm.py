"""The path norm of a network: its size as it acts from input to output, whatever the split between layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.mapping import run
from metabook.nn.layers import MaxPool2d
from metabook.nn.networks import MLP, Conv4, Pixels

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ReLU, nn.Flatten, nn.Identity, nn.MaxPool2d, MaxPool2d)
_CONTAINERS = (nn.Sequential, nn.ModuleList, MLP, Conv4, Pixels)


def path_norm(net: nn.Module, x: Tensor) -> Tensor:
    """Sum over all paths from an input or a bias to an output of the product of the squared weights; a scalar.

    Neyshabur, Tomioka, Srebro (2015), arXiv:1503.00036, sec. 3; Neyshabur, Salakhutdinov, Srebro (2015),
    arXiv:1506.02617, sec. 3: a forward pass of ones through the squared weights adds up all paths. A bias is the weight
    of an input that is always 1. Of the paths that meet in a max-pooling window the largest sum counts, since one input
    of a window is passed on at a time.

    x: any inputs [B, S, *X]; only shape, dtype and device matter. Call ``check_path_norm`` first.
    """
    squared = {name: p.square().unsqueeze(0) for name, p in net.named_parameters()}
    return run(net, torch.ones_like(x[:1, :1]), squared).sum()


def check_path_norm(net: nn.Module) -> nn.Module:
    """``net`` if it is made of weights, ReLU and max-pooling alone; else ValueError that names the layer.

    Normalisation layers divide by what they see, and smooth activations bend it: no product along a path describes
    them.
    """
    for name, module in net.named_modules():
        if not isinstance(module, (*_LAYERS, *_CONTAINERS)):
            raise ValueError(
                f"net: layer {name or 'net'} ({type(module).__name__}) has no path norm; allowed are linear and "
                "convolution layers, ReLU, max-pooling and flattening, in Sequential, MLP or Conv4 (norm='none')"
            )
    return net
