"""MAML beside the plain training loss, with a penalty on the weights: objectives that prefer adaptability."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice, check_count, check_positive, check_weight
from metabook.episode import Episode, Examples, union
from metabook.inner_loop import descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk
from metabook.nn.path_norm import check_path_norm, path_norm

PENALTIES = ("none", "l2", "path")


class RegularisedMAML(MetaLearner):
    """MAML as a regulariser: fit all examples, be easy to adapt, and stay small, each as much as its weight says.

    A weighted sum of the losses of joint training and of MAML (Finn, Abbeel, Levine 2017, arXiv:1703.03400, sec. 5.1
    and eq. 1) and of a penalty: the squared L2 norm, or the path norm (Neyshabur, Tomioka, Srebro 2015,
    arXiv:1503.00036).
    State: the weights of each task, name -> [B, *p].
    Chapter: optimization.
    Differs: no paper has this very sum; with one weight alone each term is what its paper says.

    net: any module with parameters, from inputs to ``likelihood.size`` outputs.
    maml_weight, task_weight, penalty_weight: at least 0; the first two not both 0.
    penalty: "none", "l2" (all parameters, biases too) or "path" (``metabook.nn.path_norm``), at the start theta.
    The others as in ``MAML``.

    Raises TypeError or ValueError for arguments out of range, a layer that keeps running statistics, and
    penalty="path" with a network that has no path norm.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        maml_weight: float = 1.0,
        task_weight: float = 1.0,
        penalty: str = "none",
        penalty_weight: float = 0.0,
        inner_lr: float = 0.01,
        inner_steps: int = 1,
        first_order: bool = False,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.maml_weight = check_weight("maml_weight", maml_weight)
        self.task_weight = check_weight("task_weight", task_weight)
        if maml_weight == task_weight == 0:
            raise ValueError("maml_weight, task_weight: both 0 given; one of them must be above 0")
        self.penalty = check_choice("penalty", penalty, PENALTIES)
        self.penalty_weight = check_weight("penalty_weight", penalty_weight)
        if penalty == "none" and penalty_weight > 0:
            raise ValueError(f"penalty_weight: {penalty_weight} given with penalty='none'; allowed are l2, path")
        if penalty == "path":
            check_path_norm(net)
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.first_order = first_order
        self.how = how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def adapt(self, support: Examples) -> Phi:
        """Weights after the inner steps, name -> [B, *p]."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, state, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """task_weight * L_task(theta) + maml_weight * L_maml(theta) + penalty_weight * Omega(theta)."""
        terms = []
        if self.task_weight > 0:  # L_task: mean loss at theta over the support and query examples of all tasks
            examples = union(batch.support, batch.query)
            joint = self.likelihood.loss(run(self.net, examples.x), examples.y).mean()
            terms.append(self.task_weight * joint)
        if self.maml_weight > 0:  # L_maml: mean over tasks of L_Ti(f_theta'_i), the query loss after adaptation
            adapted = per_chunk(lambda s: self._query_losses(batch.tasks(s)), self.net, batch.support.x, self.chunk)
            terms.append(self.maml_weight * adapted.mean())
        if self.penalty_weight > 0:
            terms.append(self.penalty_weight * self.omega(batch.support.x))
        return torch.stack(terms).sum()

    def omega(self, x: Tensor) -> Tensor:
        """The penalty at theta, unweighted, a scalar; x gives the shape of an input, [B, S, *X]. 0 without penalty."""
        if self.penalty == "path":
            return path_norm(self.net, x)
        # |theta|^2
        squares = [p.square().sum() for p in self.net.parameters()] if self.penalty == "l2" else []
        return torch.stack(squares).sum() if squares else x.new_zeros(())

    def _query_losses(self, part: Episode) -> Tensor:
        return self._losses(self._adapt(part.support), part.query)

    def _adapt(self, support: Examples) -> Phi:
        # theta'_i = theta - alpha * grad L_Ti(f_theta), once per step
        return descend(
            lambda phi: self._losses(phi, support),
            start(self.net, support.x.shape[0]),
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=self.first_order,
        )

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)
