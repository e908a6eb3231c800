"""MAML++: remedies for what makes MAML with several inner steps unstable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk

T = TypeVar("T")


def step_importance(steps: int, annealed: float = 0.0) -> tuple[float, ...]:
    """Weights of the query losses after steps 1 to ``steps``, summing to 1: equal at first, the last alone at the end.

    annealed: 0 gives each step 1 / steps, 1 gives the last step everything; in between all lines are straight.
    Antoniou et al. (2019), sec. 4: there it grows with the epochs of the first part of training.

    Raises TypeError or ValueError for steps below 1, and ``annealed`` outside [0, 1].
    """
    check_count("steps", steps)
    if isinstance(annealed, bool) or not isinstance(annealed, (int, float)) or not 0 <= annealed <= 1:
        raise ValueError(f"annealed: {annealed!r} given; a number from 0 to 1 is needed")
    early = (1 - annealed) / steps
    return (early,) * (steps - 1) + (1 - (steps - 1) * early,)


class MAMLPlusPlus(MetaLearner):
    """MAML++: every inner step is scored, and every layer has a learned rate for every step.

    Antoniou, Edwards, Storkey (2019), arXiv:1810.09502, sec. 4: multi-step loss (MSL), learned per-layer per-step
    rates (LSLR), derivative-order annealing (DA).
    State: the weights of each task after the last step, name -> [B, *p].
    Chapter: optimization.
    Differs: annealing is made of training phases, for a learner does not know how long it has been trained: build one
        with the next ``step_weights`` or ``first_order`` and load the last one's ``state_dict``. Batch norm keeps the
        task's own statistics and one scale and shift for all steps, which adapt as all weights do; the paper's have
        statistics, scale and shift for each step. The outer rate is up to the optimiser (the paper: cosine annealing).

    net: any module with parameters, from inputs to ``likelihood.size`` outputs.
    inner_lr: where the rates start. inner_steps: T.
    step_weights: of the query losses after steps 1 to T, adding up to 1; equal when None (see ``step_importance``).
    learn_rates: False keeps the rates where they start.
    first_order: take the inner gradients as constants. The rates are trained all the same.
    how: how the network runs over tasks (see ``metabook.mapping.run``); chunk: how many tasks adapt together. Both are
        chosen by device and network when None, and neither changes the gradient.

    Raises TypeError or ValueError for counts below 1, a rate that is not above 0, weights that are not T numbers of at
    least 0 adding up to 1, and layers that keep running statistics.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        inner_lr: float = 0.01,
        inner_steps: int = 5,
        step_weights: Sequence[float] | None = None,
        learn_rates: bool = True,
        first_order: bool = False,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.inner_steps = check_count("inner_steps", inner_steps)
        self.names = [name for name, _ in net.named_parameters()]
        rates = torch.full((inner_steps, len(self.names)), check_positive("inner_lr", inner_lr))
        self.alpha = nn.Parameter(rates, requires_grad=learn_rates)  # [T, tensors of the network]
        self.step_weights = step_importance(inner_steps) if step_weights is None else tuple(step_weights)
        right = len(self.step_weights) == inner_steps and all(w >= 0 for w in self.step_weights)
        if not right or not math.isclose(sum(self.step_weights), 1, abs_tol=1e-6):
            raise ValueError(
                f"step_weights: {self.step_weights} given; {inner_steps} numbers of at least 0 that add up to 1 needed"
            )
        self.first_order = first_order
        self.how = how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def adapt(self, support: Examples) -> Phi:
        """Weights after the last step, name -> [B, *p]."""
        return per_chunk(lambda s: self._path(support.tasks(s))[-1], self.net, support.x, self.chunk)

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, state, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query losses along the path, weighted by step: sum_t v_t L(Q; theta_t) (MSL)."""

        def losses(s: slice) -> Tensor:
            support, query = batch.tasks(s)
            scored = zip(self.step_weights, self._path(support), strict=True)
            return torch.stack([w * self._losses(phi, query) for w, phi in scored if w > 0]).sum(0)

        return per_chunk(losses, self.net, batch.support.x, self.chunk).mean()

    def _path(self, support: Examples) -> list[Phi]:
        """The weights after each step."""
        phi, path = start(self.net, support.x.shape[0]), []
        for alpha in self.alpha:
            # theta_t = theta_{t-1} - alpha_{t, layer} * grad L_S(theta_{t-1}) (LSLR)
            phi = descend(
                lambda p: self._losses(p, support),
                phi,
                lr=dict(zip(self.names, alpha, strict=True)),
                steps=1,
                first_order=self.first_order,
            )
            path.append(phi)
        return path

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)
