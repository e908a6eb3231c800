"""The official Omniglot one-shot test as tasks."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_count
from metabook.data import omniglot
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood
from metabook.tasks.protocol import score_predictions


class OmniglotChallenge:
    """The 20 runs of the Omniglot one-shot test: 20-way 1-shot within one alphabet, 20 queries a run.

    Lake, Salakhutdinov, Tenenbaum (2015). The runs are fixed: ``sample`` shuffles them and deals without replacement,
    so that 20 tasks are every run once and 20 k tasks every run k times. Score 20 tasks in one batch: more of them
    only repeat the same runs and make the interval look too narrow. The published error rate is 1 - accuracy.

    Raises what ``metabook.data.omniglot.load_challenge`` raises.
    """

    way, shots, queries = 20, 1, 1
    runs = omniglot.RUNS  #: how many tasks there are

    def __init__(self) -> None:
        self.likelihood: Likelihood = Classification(20)
        self.x_shape: tuple[int, ...] = (1, omniglot.SIZE, omniglot.SIZE)
        self.episode = omniglot.load_challenge()  #: all runs in their official order

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
