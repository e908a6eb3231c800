"""Meta Networks: gradients of a task's examples become fast weights, kept in a memory and read by attention.

Slow weights are the same in all tasks, and the query loss trains them. Fast weights are written; no step is taken.

support -> representation u with Q -> gradient of each example's loss in Q -> writer d -> Q*, the fast weights of u
support -> base learner b with W -> gradient of each example's loss in W -> writer m -> memory M of fast weights W*_i
support -> u with Q and Q* -> keys r_i
query x -> u with Q and Q* -> r -> W*, read from M where the keys are like r -> b with W and W* -> prediction
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from metabook.checks import check_choice
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.nn import AugmentedNet, GradientMLP, GradientSummary, MemoryRead

LOSSES = ("cross-entropy", "contrastive")


class FastWeights(NamedTuple):
    """What a task has written, one slot of the memory a support example."""

    keys: Tensor  #: R, the representations r_i, [B, S, D]
    memory: Tensor  #: M, the fast weights W*_i of the base learner, written by ``to_fast_weights``, [B, S, P]
    embedding: Tensor  #: Q*, the fast weights of the representation, written by ``to_task_weights``, [B, P_U]
    task: Tensor  #: of the base learner for the whole task (MetaNet+), by ``to_base_weights``; else zeros, [B, P]


class MetaNet(MetaLearner):
    """Meta Networks: a network's gradients on each support example are turned into weights for queries like it.

    Munkhdalai and Yu (2017), arXiv:1703.00837, alg. 1, sec. 3.
    State: FastWeights: keys [B, S, D], memory [B, S, P], embedding [B, P_U], task [B, P]; P weights of b, P_U of u.
    Chapter: metanetworks.
    Differs: the support examples are read in the order given, none drawn at random. The weights of the softmax from
        which the representation loss is computed stay as drawn: no gradient of the query loss reaches them (nor does
        it in the authors' code). Only the last layers of both networks have fast weights, as in the authors' code for
        mini-ImageNet; for Omniglot all have.

    representation: u, slow weights Q, to keys of D features. base: b, slow weights W, to at least N outputs; the first
        N are used, the others wait for tasks with more classes. They may share one body, which then runs once. Bodies
        are slow too.
    summary: how d makes Q* of the gradients: "lstm", "mean", or "none" for no Q* (MetaNet-).
    reads: T, the most gradients that an LSTM reads; more examples are read as the means of T groups.
    loss: of the representation, "cross-entropy", or "contrastive" on pairs of neighbours and of examples far apart.
    fast, slow: whether the base learner has fast weights, and whether it uses slow ones on queries.
    task_weights: fast weights for the whole task in the base learner too, from a third writer (MetaNet+); not Q*.
    scale: of the cosines; 1 in the paper.
    first_order: take the gradients as data, as the authors' code does; else differentiate through them.

    Raises ValueError for another likelihood, too few outputs, unknown names, and neither fast nor slow weights.
    """

    codes: Tensor  #: of the softmax after the representation, [outputs of the base learner, D]

    def __init__(
        self,
        representation: AugmentedNet,
        base: AugmentedNet,
        likelihood: Classification,
        *,
        summary: str = "lstm",
        reads: int = 5,
        loss: str = "cross-entropy",
        hidden: int = 20,
        fast: bool = True,
        slow: bool = True,
        task_weights: bool = False,
        scale: float = 1.0,
        first_order: bool = True,
    ) -> None:
        if not isinstance(likelihood, Classification):
            raise ValueError(f"likelihood: {likelihood!r} given; Meta Networks need classes, Classification(n_way)")
        super().__init__(likelihood)
        (d, _), (rows, _) = representation.shapes[-1], base.shapes[-1]
        if rows < likelihood.size:
            raise ValueError(f"base: {rows} outputs given; {likelihood.size}-way tasks need as many")
        if not (fast or slow):
            raise ValueError("fast, slow: False and False given; the base learner needs weights of one kind")
        self.representation, self.base = representation, base
        self.register_buffer("codes", torch.randn(rows, d) / math.sqrt(d))
        self.to_task_weights = GradientSummary(summary, reads=reads, hidden=hidden)  # d, with weights G: Q*
        self.to_fast_weights = GradientMLP(hidden=hidden)  # m, with weights Z: W*_i
        # of MetaNet+, like d: fast weights of b for the whole task
        self.to_base_weights = GradientSummary("lstm" if task_weights else "none", reads=reads, hidden=hidden)
        self.loss = check_choice("loss", loss, LOSSES)
        self.fast, self.slow, self.task_weights = fast, slow, task_weights
        self.read = MemoryRead(scale=scale)
        self.first_order = first_order
        self.ordered = summary == "lstm" or task_weights  # an LSTM reads the examples in turn

    def adapt(self, support: Examples) -> FastWeights:
        """Writes Q*, then a key and fast weights for every example; the gradients are those at slow weights alone."""
        u, b = self._features(support.x)
        # nabla_i = grad_Q L_emb(u(Q, x_i), y_i), Q* = d(G, nabla_1 ... nabla_T)
        q = self.to_task_weights(self._representation_gradients(u, support.y))
        # nabla_i = grad_W L_task(b(W, x_i), y_i), W*_i = m(Z, nabla_i)
        gradients = self._gradients(self.base, b, support.y, self._each)
        memory = self.to_fast_weights(gradients)
        # r_i = u(Q, Q*, x_i)
        return FastWeights(self.representation(u, q), memory, q, self.to_base_weights(gradients))

    def predict(self, state: FastWeights, query_x: Tensor) -> Distribution:
        """Base learner with slow weights and those read from the memory; batch shape [B, Q]."""
        return self.likelihood.distribution(self._logits(state, query_x))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-probability of the queries' classes, in nats; it trains bodies, Q, W and the writers.

        With ``slow=False`` and ``first_order`` W is not trained: it enters through gradients alone, which are data.
        """
        logits = self._logits(self.adapt(batch.support), batch.query.x)
        return self.likelihood.loss(logits, batch.query.y).mean()

    def _logits(self, state: FastWeights, x: Tensor) -> Tensor:
        u, b = self._features(x)
        r = self.representation(u, state.embedding)
        # W* = softmax(cos(R, r))^T M
        read = self.read(r, state.keys, state.memory)  # [B, Q, P]
        weights = [*((read,) if self.fast else ()), *((state.task,) if self.task_weights else ())]
        return self.base(b, *weights, slow=self.slow)[..., : self.likelihood.size]

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the bodies of both networks make of the inputs."""
        u = run(self.representation.body, x)
        return u, u if self.base.body is self.representation.body else run(self.base.body, x)

    def _representation_gradients(self, features: Tensor, y: Tensor) -> Tensor:
        """Gradients of the representation loss in Q, [B, S, P_U] of examples or [B, 2 S, P_U] of 2 S pairs."""
        net = self.representation
        if self.loss == "cross-entropy":
            return self._gradients(net, features, y, lambda r, y: self._each(F.relu(r) @ self.codes.mT, y))
        s = y.shape[1]
        first = torch.arange(s, device=y.device)
        one, other = first.repeat(2), torch.cat([(first + 1) % s, (first + max(1, s // 2)) % s])
        same = y[:, one] == y[:, other]  # [B, 2 S]

        def contrast(r: Tensor, same: Tensor) -> Tensor:
            a, b = F.normalize(r, dim=-1).chunk(2, 1)
            d2 = (a - b).square().sum(-1)
            return torch.where(same, d2, F.relu(1 - d2)).sum()

        both = self._gradients(net, torch.cat([features[:, one], features[:, other]], 1), same, contrast)
        return both.unflatten(1, (2, -1)).sum(1)

    def _gradients(
        self, net: AugmentedNet, features: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        if self.first_order:
            return net.gradients(features.detach(), y, loss)
        return net.gradients(features, y, loss, create_graph=torch.is_grad_enabled())

    def _each(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Cross-entropies of all examples, summed."""
        n = self.likelihood.size
        return F.cross_entropy(outputs[..., :n].flatten(0, 1), y.flatten(), reduction="sum")
