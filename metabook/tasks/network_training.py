"""Training small networks on images: the problems that a learned optimiser is meant for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metabook.checks import check_count
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.tasks.characters import glyph_tasks
from metabook.tasks.protocol import score_predictions

SIDE = 14  #: pixels


class NetworkTraining:
    """Train a network to tell ``way`` printed letters apart, from images of 14 x 14 pixels.

    After Andrychowicz et al. (2016), arXiv:1606.04474, sec. 3.2, who train on the ten digits of MNIST.
    A problem has letters of its own, and its pixels are dealt out in an order and with signs of its own. A first layer
    that is the same for all problems is so, as each of them sees it, another random layer every time: it has its
    columns in another order and with other signs. Only the problem is minimised: support and query are the same images.

    x: [B, S, 196], each pixel scaled to mean 0 and variance 1 over the images of the problem, as far as it varies.
    y: [B, S] int64. The S = way * shots examples are sorted by class, as ``Examples.minibatch`` wants them.

    part: train, validation or test, whose letters are disjoint. way: letters. shots: distorted images of each.

    Raises TypeError or ValueError for an unknown part and counts below 1 (way: 2).
    """

    def __init__(self, part: str = "train", *, way: int = 10, shots: int = 64) -> None:
        self.letters = glyph_tasks(part, way=way, shots=check_count("shots", shots), queries=1)
        self.likelihood: Likelihood = self.letters.likelihood
        self.x_shape = (SIDE * SIDE,)

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent problems on the generator's device, each as support and as query."""
        images, y = self.letters.sample(n, generator).support
        x = F.avg_pool2d(images.flatten(0, 1), images.shape[-1] // SIDE).view(n, -1, SIDE * SIDE)
        x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True).clamp_min(0.05)
        order = torch.rand(n, 1, x.shape[-1], device=x.device, generator=generator).argsort(-1)
        signs = 2.0 * torch.randint(2, order.shape, device=x.device, generator=generator) - 1
        problem = Examples(x.gather(2, order.expand_as(x)) * signs, y)
        return Episode(problem, problem)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """accuracy (fraction) and nll (nats per image) on the problem's own images, [B]."""
        return score_predictions(learner, batch)
