"""A learned optimiser: the update rule itself is a network, and gradient descent trains it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import run
from metabook.preprocess import preprocess_gradient
from metabook.trajectory import Memory, Steps, Trajectory, first_weights, fixed, follow, weight_names

SCALE = 0.1  #: of the LSTM's output


class LearnedOptimizer(MetaLearner):
    """Learned optimiser: an LSTM reads the gradient of one weight after the other and says how the weight moves.

    Andrychowicz et al. (2016), arXiv:1606.04474, eq. 3, sec. 2.1 and app. A.
    State: ``Trajectory``: weights, name -> [B, *p]; losses along the way, [B, T].
    Chapter: optimization.
    Differs: one update of theta a trajectory, not one every ``unroll`` steps; the trajectory's losses are averaged,
        not summed, and taken on the query set, which in the paper's problems is the support set.

    net: the optimisee, any module with parameters, from inputs to ``likelihood.size`` outputs.
    steps: T, the updates of a trajectory. unroll: the gradient of theta looks back over so many of them.
    hidden: units of each of the two LSTM layers. All weights share them, and each weight has a memory of its own.
    batch: examples a step, dealt out in turn; all of the support set when None.
    learn_start: train the optimisee's first weights too; otherwise they stay those of ``net``, which is copied.
    first_order: take the optimisee's gradients as constants, as the paper does.
    emphasis: the loss after step t counts in proportion to t^emphasis; 0, as in the paper's experiments, is equal
        weight, and larger values ask for low losses late.

    Raises TypeError or ValueError for counts below 1, an emphasis below 0, and a network with nothing to move or with
    running statistics.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        steps: int = 100,
        unroll: int = 20,
        hidden: int = 20,
        batch: int | None = None,
        learn_start: bool = False,
        first_order: bool = True,
        emphasis: float = 0.0,
    ) -> None:
        super().__init__(likelihood)
        self.names = weight_names(net)
        self.net = net if learn_start else fixed(net)
        self.hidden = check_count("hidden", hidden)
        batch = batch if batch is None else check_count("batch", batch)
        self.how = Steps(check_count("steps", steps), batch, check_count("unroll", unroll), first_order)
        self.emphasis = emphasis if emphasis == 0 else check_positive("emphasis", emphasis)
        self.first_order, self.ordered = first_order, batch is not None
        self.lower, self.upper = nn.LSTMCell(2, hidden), nn.LSTMCell(hidden, hidden)
        self.output = nn.Linear(hidden, 1)

    def adapt(self, support: Examples) -> Trajectory:
        """T learned updates from the first weights."""
        return self._follow(support, support)

    def predict(self, state: Trajectory, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run(self.net, query_x, state.weights))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the weighted query losses along the way."""
        losses = self._follow(batch.support, batch.query).losses
        # L(phi) = E[sum over t of w_t f(theta_t)]                                                (eq. 3)
        w = torch.arange(1, self.how.steps + 1, dtype=losses.dtype, device=losses.device) ** self.emphasis
        return (losses @ (w / w.sum())).mean()

    def _follow(self, support: Examples, judged: Examples) -> Trajectory:
        phi = first_weights(self.net, self.names, len(support.x))
        weights = sum(v.numel() for v in phi.values())
        first = next(iter(phi.values()))
        memory = tuple(first.new_zeros(weights, self.hidden) for _ in range(4))
        return follow(self.net, self.likelihood, phi, (self._update, memory), support, judged, self.how)

    def _update(self, gradient: Tensor, memory: Memory, t: int) -> tuple[Tensor, Memory]:
        # [g_t, h_{t+1}] = m(grad_t, h_t, phi), one row of the LSTM for each weight             (eq. 3)
        x = preprocess_gradient(gradient).flatten(0, 1)  # [B*P, 2]
        h1, c1 = self.lower(x, memory[:2])
        h2, c2 = self.upper(h1, memory[2:])
        return SCALE * self.output(h2).view_as(gradient), (h1, c1, h2, c2)
