"""The Omniglot one-shot test as tasks."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from metabook.checks import check_count
from metabook.data.challenge import WAY, load_challenge
from metabook.data.omniglot import SIZE
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood
from metabook.tasks.protocol import score_predictions


class OmniglotChallenge:
    """The runs of the Omniglot one-shot test: 20-way 1-shot within one alphabet, 20 queries a run.

    Lake, Salakhutdinov, Tenenbaum (2015). The runs are fixed: ``sample`` shuffles them and deals without replacement,
    so that as many tasks as there are runs are every run once. Score them in one batch: more of them only repeat the
    same runs and make the interval look too narrow. The published error rate is 1 - accuracy.

    archive: a zip file of the official layout, such as ``metabook.data.challenge.write_practice_runs`` makes; the 20
        official runs when None. size, framed: as in ``metabook.data.omniglot.shrink``.

    Raises what ``metabook.data.challenge.load_challenge`` raises.
    """

    way, shots, queries = WAY, 1, 1

    def __init__(
        self, archive: str | os.PathLike[str] | None = None, *, size: int = SIZE, framed: bool = False
    ) -> None:
        self.likelihood: Likelihood = Classification(WAY)
        self.x_shape: tuple[int, ...] = (1, size, size)
        self.episode = load_challenge(archive, size=size, framed=framed)  #: all runs in their order
        self.runs = len(self.episode.support.y)  #: how many tasks there are

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n of the runs, each once before any comes again, on the generator's device."""
        rounds = -(-check_count("n", n) // self.runs)
        order = torch.rand(rounds, self.runs, generator=generator, device=generator.device).argsort(1)
        chosen = order.flatten()[:n].to(self.episode.query.y.device)
        parts = (Examples(part.x[chosen], part.y[chosen]) for part in self.episode)
        return Episode(*parts).to(generator.device)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """accuracy (fraction) and nll (nats per query), [B]."""
        return score_predictions(learner, batch)
