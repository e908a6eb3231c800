"""Layers by which a task enters a network: scales and shifts of features (FiLM), and a context at the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.nn.networks import MLP, Conv4


class Chain(nn.Sequential):
    """Layers one after the other, all of which know the task dimension: [B, S, *X] -> [B, S, *Y]."""

    takes_tasks = True


class Film(nn.Module):
    """Feature-wise linear modulation: h (1 + scale) + shift, one pair a channel (Perez et al. 2018, eq. 2).

    scale and shift are buffers of zeros, [C]: on its own the layer is the identity. A task's own, [B, C], are put in
    their place by ``metabook.mapping.run(net, x, phi)``.

    h: [B, S, C] or [B, S, C, H, W].
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("scale", "shift"):
            self.register_buffer(name, torch.zeros(check_count("channels", channels)))

    def forward(self, h: Tensor) -> Tensor:
        """Same shape as h."""
        return modulate(h, self.scale, self.shift)


class ContextFilm(nn.Module):
    """FiLM whose scale and shift are linear in a context: Zintgraf et al. (2019), arXiv:1810.03642.

    context: a buffer of zeros, [size], or a task's own, [B, size]. h: [B, S, C] or [B, S, C, H, W].
    """

    context: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("context", torch.zeros(check_count("size", size)))
        self.film = nn.Linear(size, 2 * check_count("channels", channels))

    def forward(self, h: Tensor) -> Tensor:
        """Same shape as h."""
        return modulate(h, *self.film(self.context).chunk(2, -1))


class AppendContext(nn.Module):
    """The flat input with a context behind it: x [B, S, *X] -> [B, S, D + size].

    context: a buffer of zeros, [size], or a task's own, [B, size].
    """

    context: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("context", torch.zeros(check_count("size", size)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, *X] -> [B, S, D + size]."""
        x = x.flatten(2)
        return torch.cat([x, self.context.unsqueeze(-2).expand(*x.shape[:2], -1)], -1)


def modulate(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """h (1 + scale) + shift. h: [B, S, C] or [B, S, C, H, W]; scale, shift: [C] or [B, C]."""
    image = (..., None, slice(None), None, None) if h.dim() == 5 else (..., None, slice(None))
    return h * (1 + scale[image]) + shift[image]


def add_film(net: MLP | Conv4) -> MLP | Conv4:
    """Put a ``Film`` before the activation of every hidden layer or block of ``net``, and return it."""
    if isinstance(net, MLP):
        for i, layer in enumerate(net.layers[:-1]):
            assert isinstance(layer, nn.Linear)
            net.layers[i] = Chain(layer, Film(layer.out_features))
    else:
        for block, layer in enumerate([m for m in net.features if isinstance(m, nn.Conv2d)]):
            insert_film(net, block, Film(layer.out_channels))
    return net


def insert_film(net: Conv4, block: int, layer: nn.Module) -> Conv4:
    """Put ``layer`` before the activation of a block of ``net``, 0 the first, and return it."""
    places = [i for i, old in enumerate(net.features) if isinstance(old, nn.ReLU)]
    net.features.insert(places[block], layer)
    return net
