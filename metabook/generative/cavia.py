"""CAVIA: the network is shared, and a task is a short vector beside its input."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import per_chunk, run, run_per_chunk


class CAVIA(MetaLearner):
    """CAVIA: gradient steps on a context, a short vector that tells the shared network which task it is.

    Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson (2019), arXiv:1810.03642, sec. 3.1, alg. 1.
    State: the context of each task, [B, C].
    Chapter: generative.
    Differs: none. The meta-gradient is not clipped, which the authors' code does.

    net: any module with one buffer called ``context``, zeros [C], which also works with a task's own context in its
        place: one that holds a ``metabook.nn.AppendContext`` or ``metabook.nn.ContextFilm``.
    inner_lr, inner_steps: size and number of the gradient steps on the context.
    first_order: take the inner gradients as constants.
    how, chunk: as in ``MAML``.

    Raises TypeError or ValueError for a rate that is not above 0, a negative number of steps, a network without such a
    buffer or with several, and a layer that keeps running statistics: they would mix the tasks.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        inner_lr: float = 1.0,
        inner_steps: int = 1,
        first_order: bool = False,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        names = [name for name, _ in net.named_buffers() if name.rpartition(".")[2] == "context"]
        if len(names) != 1:
            raise ValueError(f"net: {len(names)} buffers called context given; exactly one is needed")
        self.name = names[0]
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.first_order, self.how = first_order, how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def adapt(self, support: Examples) -> Tensor:
        """The context of each task after the inner steps, [B, C]."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Tensor, query_x: Tensor) -> Distribution:
        """The one network, with each task's context; batch shape [B, Q]."""
        phi = {self.name: state}
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, phi, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at the adapted contexts."""

        def losses(s: slice) -> Tensor:
            part = batch.tasks(s)
            return self._losses(self._adapt(part.support), part.query)

        return per_chunk(losses, self.net, batch.support.x, self.chunk).mean()

    def _adapt(self, support: Examples) -> Tensor:
        zero = self.net.get_buffer(self.name).expand(len(support.x), -1)
        # phi_i = phi_0 - alpha * grad_phi L_Ti(f_{phi_0, theta}), phi_0 = 0, once per step
        return descend(
            lambda phi: self._losses(phi[self.name], support),
            {self.name: zero.clone().requires_grad_()},
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=self.first_order,
        )[self.name]

    def _losses(self, context: Tensor, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, {self.name: context}, how=self.how), examples.y)
