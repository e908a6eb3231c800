"""How like are two embeddings? The three comparisons of prototypical networks, larger for the more alike."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor


def euclidean(z: Tensor, c: Tensor) -> Tensor:
    """Minus the squared distance, up to |z|^2. z: [B, Q, *F]; c: [B, N, *F]. Returns [B, Q, N].

    Snell, Swersky, Zemel (2017), eq. 2.
    """
    z, c = z.flatten(2), c.flatten(2)
    # -|z - c|^2 = 2 z.c - |c|^2 - |z|^2; the last term is the same for every class         (eq. 2)
    return 2 * z @ c.mT - c.square().sum(-1).unsqueeze(1) - z.square().sum(-1, keepdim=True)


def cosine(z: Tensor, c: Tensor) -> Tensor:
    """The cosine. z: [B, Q, *F]; c: [B, N, *F]. Returns [B, Q, N], between -1 and 1.

    Snell, Swersky, Zemel (2017), sec. 2.6.
    """
    return F.normalize(z.flatten(2), dim=-1) @ F.normalize(c.flatten(2), dim=-1).mT


def local(z: Tensor, c: Tensor) -> Tensor:
    """A cosine of maps that bends: each place looks for its like in the 3x3 places around it in the other map.

    z: [B, Q, C, H, W]; c: [B, N, C, H, W]. Returns [B, Q, N]: with maps of length 1, the sum over the places of z of
    the largest inner product with a place of c at most one step away (zero beyond the border), and the same with the
    maps exchanged, averaged. It is at least the cosine.

    After Li et al. (2019), "Revisiting local descriptor based image-to-class measure", where a place looks through the
    whole class.

    Raises ValueError for embeddings that are no maps.
    """
    if z.dim() != 5:
        raise ValueError(f"distance: local given for features {list(z.shape[2:])}; it compares maps [C, H, W]")
    z, c = (F.normalize(maps.flatten(2), dim=-1).view(maps.shape) for maps in (z, c))
    return (_look_around(z, c) + _look_around(c, z).mT) / 2


def _look_around(a: Tensor, b: Tensor) -> Tensor:
    """[B, n, C, H, W], [B, m, C, H, W] -> [B, n, m]: every place of a takes the best of the 3x3 around it in b."""
    height, width = a.shape[-2:]
    here = a.permute(0, 3, 4, 1, 2)  # [B, H, W, n, C]
    around = F.pad(b, (1, 1, 1, 1)).permute(0, 3, 4, 2, 1)  # [B, H + 2, W + 2, C, m]
    found = [here @ around[:, i : i + height, j : j + width] for i, j in product(range(3), repeat=2)]
    return torch.stack(found).amax(0).sum((1, 2))


#: Name -> logits of queries z [B, Q, *F] for prototypes c [B, N, *F], [B, Q, N].
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"euclidean": euclidean, "cosine": cosine, "local": local}
