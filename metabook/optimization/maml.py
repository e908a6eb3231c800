"""Model-agnostic meta-learning: learn where gradient descent should start."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.episode import Episode, Examples
from metabook.inner_loop import check_descent, descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk


class MAML(MetaLearner):
    """MAML: the initial weights from which a few gradient steps solve a new task.

    Finn, Abbeel, Levine (2017), arXiv:1703.03400, eq. 1, alg. 1-3.
    State: the weights of each task, name -> [B, *p].
    Chapter: optimization.
    Differs: none; ``first_order=True`` is the paper's first-order approximation (sec. 5.2).

    net: any module with parameters, from inputs to ``likelihood.size`` outputs.
    inner_lr, inner_steps: size and number of the inner gradient steps.
    clip: the greatest length of a task's inner gradient; None, as in the paper, for any.
    how: how the network runs over tasks (see ``metabook.mapping.run``); chunk: how many tasks adapt together. Both are
        chosen by device and network when None, and neither changes the gradient.

    Raises ValueError if a layer keeps running statistics: they would mix the tasks.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        inner_lr: float = 0.01,
        inner_steps: int = 1,
        first_order: bool = False,
        clip: float | None = None,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.inner_lr, self.inner_steps, self.clip, self.chunk = check_descent(inner_lr, inner_steps, clip, chunk)
        self.first_order, self.how = first_order, how

    def adapt(self, support: Examples) -> Phi:
        """Weights after the inner steps, name -> [B, *p]."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, state, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at the adapted weights: eq. 1, sum over T_i of L_Ti(f_theta'_i)."""

        def losses(s: slice) -> Tensor:
            part = batch.tasks(s)
            return self._losses(self._adapt(part.support), part.query)

        return per_chunk(losses, self.net, batch.support.x, self.chunk).mean()

    def _adapt(self, support: Examples) -> Phi:
        # theta'_i = theta - alpha * grad L_Ti(f_theta), once per step
        return descend(
            lambda phi: self._losses(phi, support),
            start(self.net, support.x.shape[0]),
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=self.first_order,
            clip=self.clip,
        )

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)
