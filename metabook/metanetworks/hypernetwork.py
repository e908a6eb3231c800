"""Hypernetworks: read the support set, write the weights of the network that solves the task.

support -> encoder e -> code c -> generator g -> phi_0 = theta + g(c) -> gradient steps on the support set -> phi
query x -> net with phi -> prediction
The query loss trains e, g and theta, the net's own parameters.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.episode import Episode, Examples
from metabook.inner_loop import check_descent, descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk
from metabook.nn.weight_generator import add


class Written(NamedTuple):
    """What a task is: its code, and the weights written from it, after the steps."""

    code: Tensor  #: [B, C], or [B, N, C] with a code for each class
    weights: Phi  #: phi, name -> [B, *p]


class Hypernetwork(MetaLearner):
    """A hypernetwork: one network reads the support set and writes weights of another, which solves the task.

    Ha, Dai, Le (2017), arXiv:1609.09106, sec. 3.1.
    State: code, [B, C] or [B, N, C], and weights, name -> [B, *p], of each task (``Written``).
    Chapter: metanetworks.
    Differs: the paper's code is learned, one for each layer of one network; here it is read off a support set. What is
        written is added to a learned start theta, and gradient steps may follow. With a generator that writes zeros
        this is MAML.

    net: any module with parameters, from inputs to ``likelihood.size`` outputs.
    encoder: any module from the support set (x, y) to codes: [B, C] (``PairEncoder``), or of classes [B, N, C], one for
        each (``ClassEncoder``).
    generator: any module from codes to what is added to theta, name -> [B, *p] (``WeightGenerator``). It may leave
        tensors out, such as all but the head's; their start is theta itself.
    inner_lr, inner_steps: size and number of the gradient steps on written weights; 0 steps: as they are written.
    first_order: take the inner gradients as constants.
    clip, how, chunk: as in ``MAML``.

    Raises TypeError or ValueError for a rate that is not above 0, a negative number of steps, and a layer that keeps
    running statistics: they would mix the tasks.
    """

    def __init__(
        self,
        net: nn.Module,
        encoder: nn.Module,
        generator: nn.Module,
        likelihood: Likelihood,
        *,
        inner_lr: float = 0.01,
        inner_steps: int = 0,
        first_order: bool = False,
        clip: float | None = None,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.encoder = without_running_statistics(encoder, "encoder")
        self.generator = without_running_statistics(generator, "generator")
        self.inner_lr, self.inner_steps, self.clip, self.chunk = check_descent(inner_lr, inner_steps, clip, chunk)
        self.first_order, self.how = first_order, how

    def adapt(self, support: Examples) -> Written:
        """Code and weights of each task."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Written, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        outputs = run_per_chunk(self.net, query_x, state.weights, how=self.how, chunk=self.chunk)
        return self.likelihood.distribution(outputs)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at the written weights, after the steps; it trains theta, e and g."""

        def losses(s: slice) -> Tensor:
            part = batch.tasks(s)
            return self._losses(self._adapt(part.support).weights, part.query)

        return per_chunk(losses, self.net, batch.support.x, self.chunk).mean()

    def _adapt(self, support: Examples) -> Written:
        # c = e(support),  phi_0 = theta + g(c)
        code = self.encoder(*support)
        written = self.generator(code)
        phi = add(start(self.net, len(support.x), None if self.inner_steps else written), written)
        # phi_{t+1} = phi_t - alpha * grad L(phi_t)
        weights = descend(
            lambda p: self._losses(p, support),
            phi,
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=self.first_order,
            clip=self.clip,
        )
        return Written(code, weights)

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)
