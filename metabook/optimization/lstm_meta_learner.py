"""The LSTM meta-learner: gradient descent read as the cell of an LSTM, whose gates are learned."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.flat import flatten, unflatten
from metabook.inner_loop import gradient, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk
from metabook.preprocess import preprocess_gradient

SMALL = 0.01  #: the gates' weights start within +-SMALL, so that at first the gates read next to nothing


class Cell(NamedTuple):
    """Where the rule has brought each task: its weights, and the gates that it last set."""

    weights: Phi  #: theta_T, the cell state of the second layer, name -> [B, *p]
    forget: Tensor  #: f_T, how much each weight kept, [B, P]
    rate: Tensor  #: i_T, the learning rate of each weight, [B, P]


class LSTMMetaLearner(MetaLearner):
    """LSTM meta-learner: a task's weights are the cell of an LSTM, whose gates say what to keep and how far to step.

    Ravi, Larochelle (2017), openreview rJY0-Kcll, sec. 3; inputs as in Andrychowicz et al. (2016), app. A.
    State: ``Cell``: weights, name -> [B, *p]; the last gates, [B, P].
    Chapter: optimization.
    Differs: support examples all at once unless ``batch`` is given (the paper: minibatches, in several passes). Batch
        norm, where the network has one, takes the statistics of the batch at hand, the queries' too; the paper's
        takes running averages over the episode for the queries of meta-test. The first layer starts as
        ``nn.LSTMCell`` does; in the authors' code it starts as small as the gates' weights.

    net: any module with parameters; its own weights are the learned first cell c_0.
    inner_steps: T. hidden: units of the first layer, which all coordinates share; each has a memory of its own.
    keep, inner_lr: f and i at the start of meta-training; the rule starts as gradient descent with a little decay.
    batch: examples a step, dealt out in turn; all of the support set when None.
    how, chunk: as in ``metabook.mapping.run``, and how many tasks adapt together. Neither changes the gradient.

    Raises TypeError or ValueError for counts below 1, gates not between 0 and 1, layers with running statistics, and a
    network with nothing to move.
    """

    first_order = True  # the paper, sec. 3.2: gradients and losses do not depend on the meta-parameters

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        inner_steps: int = 5,
        hidden: int = 20,
        keep: float = 0.99,
        inner_lr: float = 0.01,
        batch: int | None = None,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.first_layer = nn.LSTMCell(4, check_count("hidden", hidden))
        self.gates = nn.Linear(hidden, 2)  # W_F, W_I and their biases: forget gate, then input gate
        self.feedback = nn.Parameter(torch.empty(2, 2))  # their weights of [theta_{t-1}, the gate's last value]
        for p in (self.gates.weight, self.feedback):
            nn.init.uniform_(p, -SMALL, SMALL)
        with torch.no_grad():
            self.gates.bias.copy_(torch.tensor([_logit("keep", keep), _logit("inner_lr", inner_lr)]))
        self.batch = batch if batch is None else check_count("batch", batch)
        self.ordered = batch is not None
        self.how = how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def adapt(self, support: Examples) -> Cell:
        """T steps of the learned rule from c_0."""
        return per_chunk(lambda s: self._adapt(support.tasks(s)), self.net, support.x, self.chunk)

    def predict(self, state: Cell, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(
            run_per_chunk(self.net, query_x, state.weights, how=self.how, chunk=self.chunk)
        )

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss at theta_T (alg. 1)."""

        def losses(s: slice) -> Tensor:
            part = batch.tasks(s)
            return self._losses(self._adapt(part.support).weights, part.query)

        return per_chunk(losses, self.net, batch.support.x, self.chunk).mean()

    def _adapt(self, support: Examples) -> Cell:
        like = start(self.net, len(support.x))
        if not like:
            raise ValueError("net: no parameter requires a gradient; the rule needs at least one to move")
        c = flatten(like)  # [B, P]
        i = f = torch.zeros_like(c)
        memory = (c.new_zeros(c.numel(), self.first_layer.hidden_size),) * 2
        for t in range(self.inner_steps):
            examples = support if self.batch is None else support.minibatch(t, self.batch)
            grad, loss = self._measure(unflatten(c.detach(), like), examples)
            x = torch.cat([preprocess_gradient(grad), preprocess_gradient(loss).unsqueeze(1).expand(*c.shape, 2)], -1)
            memory = self.first_layer(x.flatten(0, 1), memory)
            read = self.gates(memory[0]).view(*c.shape, 2)
            # f_t = sigmoid(W_F [h_t, theta_{t-1}, f_{t-1}] + b_F), h_t in place of [grad_t, L_t]
            f = torch.sigmoid(read[..., 0] + self.feedback[0, 0] * c + self.feedback[0, 1] * f)
            # i_t = sigmoid(W_I [h_t, theta_{t-1}, i_{t-1}] + b_I)
            i = torch.sigmoid(read[..., 1] + self.feedback[1, 0] * c + self.feedback[1, 1] * i)
            # theta_t = c_t = f_t * c_{t-1} + i_t * (-grad_t)
            c = f * c - i * grad
        return Cell(unflatten(c, like), f, i)

    def _measure(self, phi: Phi, examples: Examples) -> tuple[Tensor, Tensor]:
        """Gradient [B, P] and loss [B] of each task, as constants."""
        leaves = {k: v.requires_grad_() for k, v in phi.items()}
        grad = flatten(gradient(lambda p: self._losses(p, examples), leaves, create_graph=False))
        with torch.no_grad():
            return grad, self._losses(leaves, examples)

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)


def _logit(name: str, gate: float) -> float:
    """The bias at which a gate is ``gate``; ValueError unless it is between 0 and 1."""
    if check_positive(name, gate) >= 1:
        raise ValueError(f"{name}: {gate} given; a gate is below 1")
    return math.log(gate / (1 - gate))
