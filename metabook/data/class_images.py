"""Labelled images with the names and the groups of their classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count


class ClassImages(NamedTuple):
    """A labelled set of images of one size, as bytes: 255 is ink, 0 is paper.

    images: [n, C, H, W] uint8. labels: [n] int64 classes 0..K-1. names: one for each class.
    groups: [K] int64, the group (alphabet, script) of each class. group_names: one for each group.
    """

    images: Tensor
    labels: Tensor
    names: list[str]
    groups: Tensor
    group_names: list[str]

    def select(self, classes: Iterable[int] | Tensor) -> ClassImages:
        """Only these classes, renumbered from 0 in the order given; groups without a class are dropped.

        Raises ValueError for a class that does not exist, a class given twice, or none at all.
        """
        keep = [int(c) for c in classes]
        if not keep or len(set(keep)) < len(keep) or min(keep) < 0 or max(keep) >= len(self.names):
            raise ValueError(f"classes: {keep[:10]} given; needed are different numbers of 0..{len(self.names) - 1}")
        number = torch.full((len(self.names),), -1)
        number[keep] = torch.arange(len(keep))
        labels = number[self.labels]
        groups = self.groups[keep]
        used, groups = groups.unique(return_inverse=True)
        return ClassImages(
            self.images[labels >= 0],
            labels[labels >= 0],
            [self.names[c] for c in keep],
            groups,
            [self.group_names[g] for g in used.tolist()],
        )

    def select_groups(self, names: Iterable[str]) -> ClassImages:
        """Only the classes of these groups, in their order here. Raises ValueError for an unknown group."""
        names = list(names)
        for name in names:
            if name not in self.group_names:
                raise ValueError(f"names: group {name!r} given; known are {', '.join(self.group_names)}")
        wanted = [self.group_names[g] in names for g in self.groups.tolist()]
        return self.select(c for c, is_wanted in enumerate(wanted) if is_wanted)

    def rotated(self, quarters: int = 4) -> ClassImages:
        """The images turned by 0, 90, ... degrees, each turn of a class a class of its own (Santoro et al. 2016).

        quarters: 1 to 4, the number of turns; 1 returns the set as it is. Raises ValueError otherwise.
        """
        if check_count("quarters", quarters) > 4:
            raise ValueError(f"quarters: {quarters} given; allowed are 1 to 4 quarter turns")
        if self.images.shape[-1] != self.images.shape[-2] and quarters > 1:
            raise ValueError(f"images: shape {list(self.images.shape)}; only square images can be turned")
        turns = range(quarters)
        return ClassImages(
            torch.cat([self.images.rot90(turn, (-2, -1)) for turn in turns]),
            torch.cat([self.labels + turn * len(self.names) for turn in turns]),
            [name if turn == 0 else f"{name} turned {90 * turn}°" for turn in turns for name in self.names],
            self.groups.repeat(quarters),
            self.group_names,
        )

    def mirrored(self) -> ClassImages:
        """The images and their mirror images, left for right, each mirrored class a class of its own."""
        return ClassImages(
            torch.cat([self.images, self.images.flip(-1)]),
            torch.cat([self.labels, self.labels + len(self.names)]),
            self.names + [f"{name} mirrored" for name in self.names],
            self.groups.repeat(2),
            self.group_names,
        )


def concatenate(sets: Sequence[ClassImages]) -> ClassImages:
    """All classes of all sets, one after the other; groups of the same name become one group.

    Raises ValueError for no sets, or images of different sizes.
    """
    if not sets:
        raise ValueError("sets: none given; at least one is needed")
    shapes = {tuple(s.images.shape[1:]) for s in sets}
    if len(shapes) > 1:
        raise ValueError(f"sets: images of shapes {sorted(shapes)} given; all must have one shape")
    group_names = list(dict.fromkeys(name for s in sets for name in s.group_names))
    labels, groups, start = [], [], 0
    for s in sets:
        labels.append(s.labels + start)
        groups.append(torch.tensor([group_names.index(name) for name in s.group_names])[s.groups])
        start += len(s.names)
    return ClassImages(
        torch.cat([s.images for s in sets]),
        torch.cat(labels),
        [name for s in sets for name in s.names],
        torch.cat(groups),
        group_names,
    )
