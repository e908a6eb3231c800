"""A mixture of task distributions: each task of a batch comes from one of several, and nothing says from which."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metabook.checks import check_count
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.tasks.protocol import Tasks, score_predictions


class Mixture:
    """Tasks of several kinds, or domains: one of ``kinds`` is drawn for every task, each as likely as the others.

    kinds: task distributions alike in the kind of target, the shape of an input and the sizes of both sets.

    Raises ValueError for no kinds, and for kinds that differ in target or input; when drawing, in the sizes of sets.
    """

    def __init__(self, kinds: Sequence[Tasks]) -> None:
        if not kinds:
            raise ValueError("kinds: none given; at least one task distribution is needed")
        self.kinds = tuple(kinds)
        self.likelihood, self.x_shape = kinds[0].likelihood, kinds[0].x_shape
        for kind in kinds[1:]:
            if repr(kind.likelihood) != repr(self.likelihood) or kind.x_shape != self.x_shape:
                raise ValueError(
                    f"kinds: {kind.likelihood} of inputs {list(kind.x_shape)} given beside {self.likelihood} of "
                    f"inputs {list(self.x_shape)}; all must be alike"
                )

    def parameters(self, n: int, generator: torch.Generator) -> Tensor:
        """The kinds of n tasks, int64 [n], places in ``kinds``."""
        shape = (check_count("n", n),)
        return torch.randint(len(self.kinds), shape, generator=generator, device=generator.device)

    def episode(self, parameters: Tensor, generator: torch.Generator) -> Episode:
        """New support and query examples of tasks of the given kinds [B], in their order."""
        places = [(parameters == k).nonzero().squeeze(1) for k in range(len(self.kinds))]
        drawn = [t.sample(len(p), generator) for t, p in zip(self.kinds, places, strict=True) if len(p)]
        order = torch.cat(places).argsort()
        sizes = {tuple(len(part.x[0]) for part in episode) for episode in drawn}
        if len(sizes) > 1:
            raise ValueError(f"kinds: tasks of {sorted(sizes)} support and query examples given; all must be alike")
        parts = zip(*drawn, strict=True)
        return Episode(*(Examples(*(torch.cat(t)[order] for t in zip(*part, strict=True))) for part in parts))

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks on the generator's device, with shapes as in each of ``kinds``."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """The scores of the likelihood for each task, [B]."""
        return score_predictions(learner, batch)
