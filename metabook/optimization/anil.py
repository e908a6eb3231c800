"""ANIL: almost no inner loop. Only the last layer adapts, on features that all tasks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, run


class ANIL(MetaLearner):
    """ANIL: MAML whose inner loop moves the head alone; the outer loop trains body and head.

    Raghu, Raghu, Bengio, Vinyals (2020), arXiv:1909.09157, sec. 4.
    State: the head's weights of each task, name -> [B, *p].
    Chapter: optimization.
    Differs: none.

    body: any module from inputs to features; head: any module with parameters from features to ``likelihood.size``
        outputs, such as a linear layer.
    inner_lr, inner_steps: size and number of the inner gradient steps.
    first_order: take the inner gradients as constants. The body then learns from the query features alone.

    Raises TypeError or ValueError for a rate that is not above 0, a negative number of steps, a head without a
    parameter to move, and a layer that keeps running statistics: they would mix the tasks.
    """

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        likelihood: Likelihood,
        *,
        inner_lr: float = 0.01,
        inner_steps: int = 1,
        first_order: bool = False,
    ) -> None:
        super().__init__(likelihood)
        self.body = without_running_statistics(body, "body")
        self.head = without_running_statistics(head, "head")
        if not any(p.requires_grad for p in head.parameters()):
            raise ValueError("head: no parameter requires a gradient; the inner loop needs at least one to move")
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.first_order = first_order

    def adapt(self, support: Examples) -> Phi:
        """The head's weights after the inner steps, name -> [B, *p]."""
        features = run(self.body, support.x)  # once: no inner step changes them
        # w_t+1 = w_t - alpha * grad_w L(w_t; f_theta(S)), with w the head's weights alone
        return descend(
            lambda phi: self.likelihood.loss(run(self.head, features, phi), support.y),
            start(self.head, len(features)),
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=self.first_order,
        )

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's own head on the shared features of its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(self._outputs(state, query_x))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at the adapted heads."""
        outputs = self._outputs(self.adapt(batch.support), batch.query.x)
        return self.likelihood.loss(outputs, batch.query.y).mean()

    def _outputs(self, state: Phi, x: Tensor) -> Tensor:
        return run(self.head, run(self.body, x), state)
