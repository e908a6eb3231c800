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
    """A bending, unbounded cosine of maps: each place looks for its like in the 3x3 places around it in the other map.

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
    (b, q, channels, h, w), n = z.shape, c.shape[1]
    steps = list(product(range(3), repeat=2))  # from no step up or left, 0, to a step down or right, 2
    here = z.permute(0, 3, 4, 1, 2).reshape(b * h * w, q, channels)
    padded = F.pad(c, (1, 1, 1, 1)).permute(0, 3, 4, 2, 1)  # [B, H + 2, W + 2, C, N]
    around = torch.stack([padded[:, i : i + h, j : j + w] for i, j in steps], 4).reshape(b * h * w, channels, 9 * n)
    products = torch.bmm(here, around).view(b, h, w, q, 9, n)  # of a place of z and one a step away in c
    of_z = products.amax(4)
    # the same products, moved to where they are in c; nothing comes in at the border
    moved = [
        F.pad(p, (0, 0, 0, 0, j - 1, 1 - j, i - 1, 1 - i)) for p, (i, j) in zip(products.unbind(4), steps, strict=True)
    ]
    of_c = torch.stack(moved).amax(0)
    return (of_z + of_c).sum((1, 2)) / 2


#: Name -> logits of queries z [B, Q, *F] for prototypes c [B, N, *F], [B, Q, N].
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"euclidean": euclidean, "cosine": cosine, "local": local}
