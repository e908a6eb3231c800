"""The optimisation engine: a network that reads a task and writes the optimiser for it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.inner_loop import gradient, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk
from metabook.nn import TaskEncoder


class Optimizer(NamedTuple):
    """The optimiser of each task: for every tensor of the network, by name."""

    rate: Phi  #: alpha > 0, [B, T] with one for each step, or [B, 1]
    momentum: Phi  #: mu in (-1, 1), as alpha
    preconditioner: Phi  #: the diagonal of P > 0, [B, 1, in, ...] over a tensor's inputs; [B, *p] with ``per_weight``


class Adapted(NamedTuple):
    """The weights of each task, the optimiser that led there, and the code it was written from."""

    weights: Phi  #: name -> [B, *p]
    optimizer: Optimizer
    code: Tensor  #: [B, C]


class OptimizationEngine(MetaLearner):
    """The optimisation engine: a network reads the support set and writes rates, momenta and a preconditioner for it.

    No primary paper: the idea of an engine E(T) that outputs an optimiser for each task stands in one of the articles
    this book follows, without equations. Relatives: Meta-SGD (Li et al. 2017, arXiv:1707.09835; one rate per weight,
    the same in every task), Meta-Curvature (Park, Oliva 2019, arXiv:1902.03356; a learned preconditioner, the same in
    every task), ALFA (Baik et al. 2020, arXiv:2011.00209; rates and decays per task and step).
    State: each task's weights, name -> [B, *p], optimiser (rates and momenta [B, T], preconditioners), code [B, C].
    Chapter: optimization.
    Differs: the construction is ours. Before training the optimiser is plain gradient descent with rate ``inner_lr``.

    net: any module with parameters, from inputs to ``likelihood.size`` outputs. What is frozen stays out.
    x_shape: shape of one input. inner_lr: the rate that the generated ones multiply; inner_steps: T.
    per_step: other rates and momenta for every step. per_weight: also learn a rate for each weight, the same in every
    task, that the generated ones multiply. shared: give all tasks the code zero, so that they share one optimiser.
    code: C, the length of the code. ceiling: in training, a task whose query loss L is above it counts as ceiling *
    (1 + log(L / ceiling)), so that one diverging task does not drown the others; None for the plain mean.
    first_order: take the inner gradients as constants. how, chunk: as in ``MAML``.

    Raises TypeError or ValueError for a rate or ceiling that is not above 0, a negative number of steps, counts below
    1, and a layer that keeps running statistics: they would mix the tasks.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        x_shape: tuple[int, ...],
        inner_lr: float = 0.01,
        inner_steps: int = 5,
        per_step: bool = False,
        per_weight: bool = False,
        shared: bool = False,
        code: int = 16,
        ceiling: float | None = 1.0,
        first_order: bool = False,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.ceiling = ceiling if ceiling is None else check_positive("ceiling", ceiling)
        self.first_order, self.how = first_order, how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)
        check_count("code", code)
        shapes = {name: p.shape[1:] for name, p in start(net, 1).items()}
        self.rates = max(1, self.inner_steps) if per_step else 1
        self.inputs = {name: shape[1] if len(shape) > 1 else 1 for name, shape in shapes.items()}
        self.encoder = None if shared else TaskEncoder(x_shape, len(shapes), code=code)
        self.generator = nn.Linear(code, sum(2 * self.rates + n for n in self.inputs.values()))
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)
        own = [nn.Parameter(torch.zeros(shape)) for shape in shapes.values()] if per_weight else []
        self.log_rates = nn.ParameterList(own)

    def adapt(self, support: Examples) -> Adapted:
        """The adapted weights and the optimiser of each task."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Adapted, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(
            run_per_chunk(self.net, query_x, state.weights, how=self.how, chunk=self.chunk)
        )

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at the adapted weights, tempered above ``ceiling``."""

        def losses(s: slice) -> Tensor:
            part = batch.tasks(s)
            return self._losses(self._adapt(part.support).weights, part.query)

        loss, c = per_chunk(losses, self.net, batch.support.x, self.chunk), self.ceiling
        # L where L <= c, else c (1 + log(L / c)): value and slope agree at c
        return (loss if c is None else loss.clamp(max=c) + c * (loss.clamp(min=c) / c).log()).mean()

    def _adapt(self, support: Examples) -> Adapted:
        differentiable = torch.is_grad_enabled()

        def slopes(phi: Phi) -> Phi:
            create_graph = differentiable and not self.first_order
            return gradient(lambda p: self._losses(p, support), phi, create_graph=create_graph)

        def movable(phi: Phi) -> Phi:
            return phi if differentiable else {k: v.detach().requires_grad_() for k, v in phi.items()}

        phi = movable(start(self.net, support.x.shape[0]))
        grads = slopes(phi)
        optimizer, code = self._engine(support.x, grads)
        m = {k: torch.zeros_like(g) for k, g in grads.items()}
        for t in range(self.inner_steps):
            grads = slopes(phi) if t else grads
            alpha, mu = (_of_step(t, values, phi) for values in (optimizer.rate, optimizer.momentum))
            # m_{t+1} = mu_t m_t + P grad L(S; phi_t)
            m = {k: mu[k] * m[k] + optimizer.preconditioner[k] * g for k, g in grads.items()}
            # phi_{t+1} = phi_t - alpha_t m_{t+1}
            phi = movable({k: v - alpha[k] * m[k] for k, v in phi.items()})
        return Adapted(phi if differentiable else {k: v.detach() for k, v in phi.items()}, optimizer, code)

    def _engine(self, x: Tensor, grads: Phi) -> tuple[Optimizer, Tensor]:
        """E(T): the optimiser written for each task, and the code it was written from."""
        if list(grads) != list(self.inputs):
            raise ValueError("net: parameters were frozen or freed after the engine was built; do that before")
        code = x.new_zeros(len(x), self.generator.in_features) if self.encoder is None else self.encoder(x, grads)
        sizes = [n for inputs in self.inputs.values() for n in (self.rates, self.rates, inputs)]
        parts = iter(self.generator(code).split(sizes, 1))
        rate, momentum, preconditioner = {}, {}, {}
        for i, (name, g) in enumerate(grads.items()):
            # alpha = alpha_0 exp(a),  mu = tanh(b),  P = diag exp(c - mean c): zeros give alpha_0, 0 and the identity
            a, b, c = next(parts), next(parts), next(parts)
            rate[name], momentum[name] = self.inner_lr * a.exp(), b.tanh()
            diagonal = (c - c.mean(1, keepdim=True)).exp()
            wide = diagonal.view(len(x), 1, -1, *[1] * (g.dim() - 3)) if g.dim() > 2 else diagonal
            preconditioner[name] = wide * self.log_rates[i].exp() if len(self.log_rates) else wide
        return Optimizer(rate, momentum, preconditioner), code

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)


def _of_step(t: int, values: Phi, like: Phi) -> Phi:
    """Of rates or momenta [B, T or 1], those of step t, in a shape that broadcasts against [B, *p]."""
    return {k: v[:, t if v.shape[1] > 1 else 0].view(-1, *[1] * (like[k].dim() - 1)) for k, v in values.items()}
