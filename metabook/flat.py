"""All weights of a task as one vector, for what treats every coordinate alike."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.mapping import Phi


def flatten(phi: Phi) -> Tensor:
    """name -> [B, *p] as [B, P], in the order of the names."""
    return torch.cat([v.flatten(1) for v in phi.values()], 1)


def unflatten(vector: Tensor, like: Phi) -> Phi:
    """[B, P] as name -> [B, *p], with the names and shapes of ``like``: the inverse of ``flatten``.

    Raises ValueError if P is not the number of weights of ``like``.
    """
    sizes = [v[0].numel() for v in like.values()]
    if vector.dim() != 2 or vector.shape[1] != sum(sizes):
        raise ValueError(f"vector: shape {list(vector.shape)} given; [B, {sum(sizes)}] is needed")
    parts = vector.split(sizes, 1)
    return {k: part.reshape(len(vector), *v.shape[1:]) for (k, v), part in zip(like.items(), parts, strict=True)}
