"""Comparing drawings without learning: how far is the ink of one from the ink of the other?"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.distributions import Distribution

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification


class Drawings(NamedTuple):
    """The support set as ink and as distances to ink; the pixels of an image are in rows."""

    ink: Tensor  #: [B, S, H*W] 1 where there is ink
    distance: Tensor  #: [B, S, H*W] from each pixel to the nearest ink, in pixels
    labels: Tensor  #: [B, S, N], one-hot


class ModifiedHausdorff(MetaLearner):
    """Nearest neighbour by the modified Hausdorff distance between the inked pixels of two drawings.

    Dubuisson, Jain (1994), doi:10.1109/ICPR.1994.576361, eq. 8 and 14; the baseline of the Omniglot Challenge.
    State: ink and distance maps of the support images [B, S, H*W], and their labels [B, S, N].
    Chapter: metric.
    Differs: ink is what is darker than ``threshold``; drawings are moved by whole pixels until the centre of their ink
        is that of the image. Ink that this moves over the border is lost, and distances count up
        to the width of the image. A class is as near as its nearest example. Logits are negative distances in pixels.

    It has no meta-parameters. A drawing without ink is as far from all others as the image is wide.
    """

    def __init__(self, likelihood: Classification, *, threshold: float = 0.5) -> None:
        super().__init__(likelihood)
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; drawings have classes, Classification(n_way)")
        if not 0 < threshold < 1:
            raise ValueError(f"threshold: {threshold} given; between 0 and 1 is allowed")
        self.threshold = threshold

    def adapt(self, support: Examples) -> Drawings:
        """Ink and distance maps. x: [B, S, 1, H, W] in [0, 1]; other inputs count as images of one row."""
        ink, distance = self._maps(support.x)
        return Drawings(ink, distance, F.one_hot(support.y, self.likelihood.size).to(ink.dtype))

    def predict(self, state: Drawings, query_x: Tensor) -> Distribution:
        """Softmax over negative distances to the nearest example of each class; batch shape [B, Q]."""
        ink, distance = self._maps(query_x)
        # d(A, B) = mean over a in A of the distance from a to B; H = max(d(A, B), d(B, A))        (eq. 8, 14)
        there = ink @ state.distance.mT / ink.sum(-1, keepdim=True).clamp(min=1)  # [B, Q, S]
        back = distance @ state.ink.mT / state.ink.sum(-1).clamp(min=1).unsqueeze(1)
        h = torch.maximum(there, back)
        other = state.labels.mT.unsqueeze(1) == 0  # [B, 1, N, S]
        nearest = h.unsqueeze(2).masked_fill(other, torch.inf).amin(-1)  # [B, Q, N]
        return self.likelihood.distribution(-nearest)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries' classes, in nats. There is nothing to train."""
        return -self(batch).log_prob(batch.query.y).mean()

    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Ink and distance to ink of centred drawings, both [B, S, H*W]."""
        x = x if x.dim() == 5 else x.flatten(2)[:, :, None, None]
        height, width = x.shape[-2:]
        ink = (x[:, :, 0] > self.threshold).to(x.dtype)
        rows, columns = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (height, width))
        mass = ink.sum((-2, -1)).clamp(min=1)
        centre = torch.stack([(ink.sum(-1) @ rows) / mass, (ink.sum(-2) @ columns) / mass], -1)
        middle = torch.tensor([(height - 1) / 2, (width - 1) / 2], device=x.device, dtype=x.dtype)
        move = (centre - middle).round().long()  # [B, S, 2]; the new pixel looks so far down and right
        at_row = (torch.arange(height, device=x.device) + move[..., :1]).unsqueeze(-1)  # [B, S, H, 1]
        at_column = (torch.arange(width, device=x.device) + move[..., 1:]).unsqueeze(-2)  # [B, S, 1, W]
        inside = (at_row >= 0) & (at_row < height) & (at_column >= 0) & (at_column < width)
        place = at_row.clamp(0, height - 1) * width + at_column.clamp(0, width - 1)
        moved = (ink.flatten(2).gather(2, place.flatten(2)) * inside.flatten(2)).flatten(2)
        paper = (moved == 0).cpu().numpy().reshape(-1, height, width)
        # of an image without ink the distance is not defined, and becomes the width like all that is as far
        nearest = torch.stack([torch.from_numpy(distance_transform_edt(p)) for p in paper]).to(moved).view(moved.shape)
        blank = moved.sum(-1, keepdim=True) == 0
        return moved, nearest.clamp(max=width).masked_fill(blank, float(width))
