"""Meta-SGD: learn where gradient descent should start, and how far and which way every weight should go."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk


class MetaSGD(MetaLearner):
    """Meta-SGD: the initial weights, and a learned rate for each of them, negative where that helps.

    Li, Zhou, Chen, Li (2017), arXiv:1707.09835, alg. 1.
    State: the weights of each task, name -> [B, *p].
    Chapter: optimization.
    Differs: every rate starts at the one number ``inner_lr``; ``inner_steps`` may be more than the paper's one.

    net: any module with parameters, from inputs to ``likelihood.size`` outputs.
    inner_lr: where the rates start. inner_steps: number of the inner steps, all with the same rates.
    first_order: take the inner gradients as constants. The rates are trained all the same.
    how: how the network runs over tasks (see ``metabook.mapping.run``); chunk: how many tasks adapt together. Both are
        chosen by device and network when None, and neither changes the gradient.

    Raises TypeError or ValueError for a rate or chunk that is not above 0, a negative number of steps, and a layer that
    keeps running statistics: they would mix the tasks.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        inner_lr: float = 0.01,
        inner_steps: int = 1,
        first_order: bool = False,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        inner_lr = check_positive("inner_lr", inner_lr)
        # In the order of the network's parameters: their names have dots, which a ParameterDict does not allow.
        self.alpha = nn.ParameterList(nn.Parameter(torch.full_like(p, inner_lr)) for p in net.parameters())
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.first_order = first_order
        self.how = how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    @property
    def rates(self) -> dict[str, Tensor]:
        """The learned rate of every weight: parameter name of ``net`` -> a tensor of that parameter's shape."""
        return {name: alpha for (name, _), alpha in zip(self.net.named_parameters(), self.alpha, strict=True)}

    def adapt(self, support: Examples) -> Phi:
        """Weights after the inner steps, name -> [B, *p]."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, state, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at the adapted weights, a function of theta and of alpha."""

        def losses(s: slice) -> Tensor:
            part = batch.tasks(s)
            return self._losses(self._adapt(part.support), part.query)

        return per_chunk(losses, self.net, batch.support.x, self.chunk).mean()

    def _adapt(self, support: Examples) -> Phi:
        # theta' = theta - alpha o grad L_train(theta), o the product weight by weight
        return descend(
            lambda phi: self._losses(phi, support),
            start(self.net, support.x.shape[0]),
            lr=self.rates,
            steps=self.inner_steps,
            first_order=self.first_order,
        )

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)
