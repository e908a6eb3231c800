"""Few-shot tasks over what a pretrained character network says of a letter: vectors, not pixels.

The network is that of the pretrained learner ``glyphs`` (``metabook.pretrained``): its first three blocks, whose 64
maps of 3 x 3 are 576 numbers. The fourth is left out: it was trained so that the nearest class mean is the right
classifier of what it puts out, which leaves little to learn.

It was trained on the train part of ``glyphs`` alone, whose scripts are others than those of the validation and test
parts. So test letters are as new to the network as they are to a learner that is trained on vectors of the train part.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_count
from metabook.data import glyphs
from metabook.metric import ProtoNet
from metabook.nn import Conv4
from metabook.tasks.characters import glyph_images, omniglot_images
from metabook.tasks.distort import Distort
from metabook.tasks.embedded import Embedded
from metabook.tasks.families import PARTS, TaskFamily

NETWORK = "glyphs"  #: the pretrained learner whose network is used
LAYERS = 3 * 4  #: convolution, norm, pooling, ReLU of three blocks
SEED = 0  #: of the distortions; those of the i-th part have seed SEED + i
AT_ONCE = 64  #: images that are embedded together: their activations fit the cache


def embed(images: Tensor) -> Tensor:
    """Vectors of length 1 from images [n, 1, 28, 28], bytes or floats in [0, 1]: [n, D] with D = 576, on the CPU.

    What the network puts out, less its mean over one drawing of each training letter, divided by the length. (The
    length is as in the code of Rusu et al. (2019), arXiv:1807.05960; they subtract no mean.)
    """
    return F.normalize(_features(images) - _centre(), dim=1)


def glyph_embedding_tasks(
    part: str, *, way: int = 5, shots: int = 1, queries: int = 15, copies: int = 4, classes: int | None = None
) -> Embedded:
    """Printed letters as vectors of length 1, from a network that has seen the letters of the train part.

    copies: distorted copies of each drawing, made once and kept in memory; the tasks draw from them (``Embedded``). One
    copy of the train part takes about ten seconds of one core. classes: only so many letters of the part.
    """
    x, y = _glyphs(part, check_count("copies", copies), classes)
    return Embedded(x, y, way=way, shots=shots, queries=queries)


def omniglot_embedding_tasks(
    part: str,
    *,
    way: int = 5,
    shots: int = 1,
    queries: int = 15,
    split: str = "background",
    held_out: str = "evaluation",
) -> Embedded:
    """Handwritten letters as vectors of length 1, from a network that has seen printed letters alone.

    Characters are split as in ``omniglot``, none are turned or distorted. The network has seen printed Latin, Greek and
    Cyrillic letters, whose alphabets Omniglot has too; it has seen no drawing of Omniglot.
    """
    x, y = _omniglot(part, split, held_out)
    return Embedded(x, y, way=way, shots=shots, queries=queries)


TASKS: dict[str, TaskFamily] = {
    "glyph-embeddings": TaskFamily(
        glyph_embedding_tasks, "printed letters as vectors, made by a pretrained character network"
    ),
    "omniglot-embeddings": TaskFamily(
        omniglot_embedding_tasks, "handwritten letters as vectors, made by a pretrained character network"
    ),
}


@lru_cache(maxsize=8)
def _glyphs(part: str, copies: int, classes: int | None) -> tuple[Tensor, Tensor]:
    """x [n, copies, D] and y [n] of one part: distorted copies of every drawing."""
    data = glyph_images(part, classes)
    generator, distort = torch.Generator().manual_seed(SEED + PARTS.index(part)), Distort()
    images = data.images.float() / 255
    return torch.stack([embed(distort(images, generator)) for _ in range(copies)], 1), data.labels


@lru_cache(maxsize=8)
def _omniglot(part: str, split: str, held_out: str) -> tuple[Tensor, Tensor]:
    """x [n, 1, D] and y [n] of one part: every drawing as it is."""
    data = omniglot_images(part, split, held_out)
    return embed(data.images).unsqueeze(1), data.labels


@lru_cache(maxsize=1)
def _network() -> nn.Module:
    from metabook import pretrained  # it imports the registry, which imports the tasks of this module

    learner = pretrained.load(NETWORK)
    assert isinstance(learner, ProtoNet) and isinstance(learner.net, Conv4)
    return learner.net.features[:LAYERS]


@torch.no_grad()
def _features(images: Tensor) -> Tensor:
    """What the network puts out, [n, D]."""
    scaled = images.float() / 255 if images.dtype == torch.uint8 else images
    return torch.cat([_network()(part.unsqueeze(0))[0].flatten(1) for part in scaled.split(AT_ONCE)])


@lru_cache(maxsize=1)
def _centre() -> Tensor:
    """Mean of the features of the first drawing of each training letter, [D]."""
    data = glyphs.load("train")
    counts = torch.bincount(data.labels)
    first = data.labels.argsort(stable=True)[counts.cumsum(0) - counts]
    return _features(data.images[first]).mean(0)
