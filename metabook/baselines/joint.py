"""Joint training: one network for all tasks, as if there were no tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples, union
from metabook.inner_loop import descend, start
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk


class Joint(MetaLearner):
    """Joint training: fit the examples of all tasks with one network; at test time, fine-tune it or not.

    The pre-training baseline of Finn, Abbeel, Levine (2017), arXiv:1703.03400, sec. 5.1.
    State: the weights of each task, name -> [B, *p].
    Chapter: formalism.
    Differs: none; ``fine_tune_steps=0`` is the network as it was trained.

    net: any module with parameters, from inputs to ``likelihood.size`` outputs.
    fine_tune_lr, fine_tune_steps: size and number of the gradient steps on the support set. Training never sees them.
    how: how the network runs over tasks (see ``metabook.mapping.run``); chunk: how many tasks are fine-tuned together.
        Both are chosen by device and network when None.

    Raises TypeError or ValueError for a rate or chunk that is not above 0 and a negative number of steps.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        fine_tune_lr: float = 0.01,
        fine_tune_steps: int = 0,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = net
        self.fine_tune_lr = check_positive("fine_tune_lr", fine_tune_lr)
        self.fine_tune_steps = check_count("fine_tune_steps", fine_tune_steps, least=0)
        self.how = how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def adapt(self, support: Examples) -> Phi:
        """Weights after fine-tuning, name -> [B, *p], as constants: nothing is differentiated through them."""

        def tuned(s: slice) -> Phi:
            part = support.tasks(s)
            return descend(
                lambda phi: self.likelihood.loss(run(self.net, part.x, phi, how=self.how), part.y),
                start(self.net, part.x.shape[0]),
                lr=self.fine_tune_lr,
                steps=self.fine_tune_steps,
            )

        with torch.no_grad():
            return per_chunk(tuned, self.net, support.x, self.chunk)

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's fine-tuned network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, state, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean loss of the one network over the support and query examples of all tasks."""
        examples = union(batch.support, batch.query)
        return self.likelihood.loss(run(self.net, examples.x), examples.y).mean()
