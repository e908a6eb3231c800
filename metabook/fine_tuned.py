"""Any classifier of images that first practises on the task's own support set."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution
from torch.utils._pytree import tree_map

from metabook.checks import check_count, check_positive
from metabook.device import make_generator
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.muon import Muon
from metabook.views import Change, logits_of


class Practised(NamedTuple):
    """What practice leaves of B tasks."""

    weights: dict[str, Tensor]  #: of the wrapped learner after the steps, [B, *p]
    state: Any  #: of the wrapped learner with those weights, B leading in every leaf


class FineTuned(MetaLearner):
    """Take steps on tasks that are made of the support set alone: its images, changed at random, ask for its images.

    Hu, Li, Stühmer, Kim, Hospedales (2022), arXiv:2204.07305, fine-tune a prototypical network on each test task in
    this way, with queries made of the support set by augmentation.
    State: the weights after the steps, [B, *p], and the wrapped learner's state (``Practised``).
    Chapter: metric.
    Differs: the support set of practice is changed at random too; steps are Muon's, with one rate for all data sets,
        where the paper chooses the rate on validation tasks.

    learner: any classifier of images whose ``meta_loss`` can be had of a task with as many queries as examples.
    change: a function of images [n, C, H, W] and a generator, such as ``Distort``. steps, lr: of ``Muon``. The draws
        are fixed by ``seed`` and are the same for every task. The wrapped learner itself is not changed.

    No query is seen. It costs ``steps`` times three passes of twice the support set, for each task.

    Raises ValueError for a learner of something else than classes or without weights, TypeError or ValueError for steps
    below 0 and an lr that is not above 0; when called, ValueError for a support set that the learner's loss refuses,
    such as several shots for a prototypical network with ``swap``.
    """

    def __init__(
        self, learner: MetaLearner, change: Change, *, steps: int = 8, lr: float = 0.01, seed: int = 0
    ) -> None:
        if not isinstance(learner.likelihood, Classification):
            raise ValueError(f"learner: {learner.likelihood!r} given; practice is for classes only")
        if next(learner.parameters(), None) is None:
            raise ValueError(
                f"learner: {type(learner).__name__} given has no weights; there is nothing to practise with"
            )
        super().__init__(learner.likelihood)
        self.learner, self.change = learner, change
        self.steps, self.lr = check_count("steps", steps, least=0), check_positive("lr", lr)
        self.seed = check_count("seed", seed, least=0)
        self.ordered, self.first_order, self.one_by_one = learner.ordered, learner.first_order, learner.one_by_one

    def adapt(self, support: Examples) -> Practised:
        """Practise on each task by itself, then adapt the wrapped learner."""
        tasks = [self._practise(Examples(x[None], y[None])) for x, y in zip(*support, strict=True)]
        weights = {name: torch.stack([task.weights[name] for task in tasks]) for name in tasks[0].weights}
        return Practised(weights, tree_map(lambda *leaves: torch.cat(leaves), *(task.state for task in tasks)))

    def predict(self, state: Practised, query_x: Tensor) -> Distribution:
        """The wrapped learner's prediction with each task's own weights; batch shape [B, Q]."""
        parts = []
        for b in range(len(query_x)):
            learner = copy.deepcopy(self.learner)
            learner.load_state_dict({name: weight[b] for name, weight in state.weights.items()})
            own = tree_map(lambda leaf, b=b: leaf[b : b + 1], state.state)
            parts.append(logits_of(learner.predict(own, query_x[b : b + 1])))
        return Categorical(logits=torch.cat(parts), validate_args=False)

    def meta_loss(self, batch: Episode) -> Tensor:
        """The wrapped learner's."""
        return self.learner.meta_loss(batch)

    def _practise(self, support: Examples) -> Practised:
        """Weights, without a task dimension, and state of one task [1, S, *X]."""
        learner = copy.deepcopy(self.learner)
        optimizer = Muon([p for p in learner.parameters() if p.requires_grad], self.lr)
        generator = make_generator(support.x.device, self.seed)
        x = torch.cat([support.x[0]] * 2)
        with torch.enable_grad():
            for _ in range(self.steps):
                shown, asked = self.change(x, generator).unsqueeze(0).chunk(2, 1)
                try:
                    loss = learner.meta_loss(Episode(Examples(shown, support.y), Examples(asked, support.y)))
                except ValueError as error:
                    raise ValueError(f"learner: cannot practise on this support set; {error}") from error
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        weights = {name: weight.detach() for name, weight in learner.state_dict().items()}
        with torch.no_grad():
            return Practised(weights, learner.adapt(support))
