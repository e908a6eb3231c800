"""Modulated MAML: read the support set, move the start to where its kind of task is solved, then take MAML's steps."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk
from metabook.nn import Film


class Modulated(NamedTuple):
    """What a task is: its code, the scales and shifts written from it, and its own weights."""

    code: Tensor  #: [B, C]
    modulation: Phi  #: name of a scale or shift -> [B, channels]
    weights: Phi  #: name -> [B, *p]


class ModulatedMAML(MetaLearner):
    """Modulated MAML: a code of the support set scales and shifts the features of the start; then MAML's steps.

    Vuorio, Sun, Hu, Lim (2019), arXiv:1910.13616, sec. 4, alg. 1.
    State: code [B, C], modulation and weights of each task (``Modulated``).
    Chapter: generative.
    Differs: the support set is read as a set (a mean over pairs), in place of a bidirectional LSTM, whose code depends
        on the order. The generator starts at zero, so before training this is MAML. No gradient is clipped.

    net: any module with ``metabook.nn.Film`` layers, from inputs to ``likelihood.size`` outputs.
    encoder: any module from the support set (x, y) to codes [B, code]; code: C, their length.
    inner_lr, inner_steps: size and number of the gradient steps on the network's own weights.
    first_order: take the inner gradients as constants.
    how, chunk: as in ``MAML``.

    Raises TypeError or ValueError for a rate that is not above 0, a negative number of steps, counts below 1, a network
    without a ``Film``, and a layer that keeps running statistics: they would mix the tasks.
    """

    def __init__(
        self,
        net: nn.Module,
        encoder: nn.Module,
        likelihood: Likelihood,
        *,
        code: int,
        inner_lr: float = 0.01,
        inner_steps: int = 1,
        first_order: bool = False,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.encoder = without_running_statistics(encoder, "encoder")
        films = [(name, m) for name, m in net.named_modules() if isinstance(m, Film)]
        if not films:
            raise ValueError("net: no metabook.nn.Film given; the modulation needs at least one")
        #: Channels of every scale and shift, by name
        self.sizes = {f"{name}.{part}": len(v) for name, m in films for part, v in m.named_buffers()}
        self.generator = nn.Linear(check_count("code", code), sum(self.sizes.values()))
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.first_order, self.how = first_order, how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def adapt(self, support: Examples) -> Modulated:
        """Code, modulation and adapted weights of each task."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Modulated, query_x: Tensor) -> Distribution:
        """Each task's own modulated network on its queries; batch shape [B, Q]."""
        phi = {**state.weights, **state.modulation}
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, phi, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at the modulated and adapted weights."""

        def losses(s: slice) -> Tensor:
            part = batch.tasks(s)
            state = self._adapt(part.support)
            return self._losses({**state.weights, **state.modulation}, part.query)

        return per_chunk(losses, self.net, batch.support.x, self.chunk).mean()

    def _adapt(self, support: Examples) -> Modulated:
        # v = h({x_k, y_k}),  tau_i = g_i(v)
        code = self.encoder(*support)
        parts = self.generator(code).split(list(self.sizes.values()), 1)
        tau = dict(zip(self.sizes, parts, strict=True))
        # theta' = theta - alpha * grad_theta L(f(x; theta, tau)), once per step, tau fixed
        weights = descend(
            lambda phi: self._losses({**phi, **tau}, support),
            start(self.net, len(support.x)),
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=self.first_order,
        )
        return Modulated(code, tau, weights)

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)
