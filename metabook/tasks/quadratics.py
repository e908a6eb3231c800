"""Random quadratics: the problems on which optimisers are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_count
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression


class Quadratics:
    """f(theta) = ``|W theta - y|^2`` with W [D, D] and y [D] of independent standard Gaussian entries.

    Andrychowicz et al. (2016), arXiv:1606.04474, sec. 3.1. As a regression without noise: the rows of W are the
    inputs, the entries of y the targets, theta the weights of a linear network without bias. There is nothing to
    generalise to: support and query are the same problem, and the score is its value.

    The optimisee's random start s ~ N(0, I) is put into the problem: the targets are y - W s, so that theta = 0 here
    is theta = s there, and every optimiser starts at zero. The least value is 0, whatever the start.

    The mean loss of ``Regression`` is f / D; scores are f itself.

    dim: D.

    Raises TypeError or ValueError for a dim below 1.
    """

    def __init__(self, *, dim: int = 10) -> None:
        self.likelihood = Regression()
        self.dim = check_count("dim", dim)
        self.x_shape = (dim,)

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent problems, x = W [n, D, D] and y - W s [n, D, 1], on the generator's device, as both sets."""
        shape = (check_count("n", n), self.dim)
        w = torch.randn(*shape, self.dim, device=generator.device, generator=generator)
        y, s = torch.randn(2, *shape, 1, device=generator.device, generator=generator)
        problem = Examples(w, y - w @ s)
        return Episode(problem, problem)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """loss: f at the adapted weights, [B]; log_loss: its natural logarithm, [B].

        A value that has become 0 in floating point counts as the smallest normal number: a logarithm must be finite.
        """
        f = (learner(batch).mean - batch.query.y).square().sum((-2, -1))
        return {"loss": f, "log_loss": f.clamp_min(torch.finfo(f.dtype).tiny).log()}
