"""Optimisers made by hand, as learners without meta-parameters: what a learned optimiser must beat."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice, check_count, check_positive
from metabook.device import make_generator, pick_device
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import run
from metabook.tasks.protocol import Tasks
from metabook.trajectory import Memory, Steps, Trajectory, first_weights, fixed, follow, weight_names

RULES = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "adam": 2}  #: name -> numbers kept for each weight
DECAYS = ("none", "cosine")


class HandMade(MetaLearner):
    """Hand-made optimisers: SGD, momentum, Nesterov's momentum, RMSprop and Adam on the weights of each task.

    As ``torch.optim`` has them; Adam is Kingma and Ba (2015), arXiv:1412.6980, alg. 1.
    State: ``Trajectory``: weights, name -> [B, *p]; losses along the way, [B, T].
    Chapter: optimization.
    Differs: none. There are no meta-parameters: the first weights are those of ``net``, which is copied.

    rule: sgd, momentum, nesterov, rmsprop or adam. lr: its rate. steps: T.
    beta1: momentum of the gradient; beta2: of its square. eps: added to the root of the square.
    decay: "cosine" lets the rate fall to 0 over the T steps.
    batch: examples a step, dealt out in turn; all of the support set when None.

    Raises TypeError or ValueError for an unknown rule or decay, an lr or eps that is not above 0, counts below 1, a
    beta outside [0, 1), and a network with nothing to move or with running statistics.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        rule: str = "adam",
        lr: float = 0.01,
        steps: int = 100,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        decay: str = "none",
        batch: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.names, self.net = weight_names(net), fixed(net)
        self.rule, self.decay = check_choice("rule", rule, RULES), check_choice("decay", decay, DECAYS)
        self.lr, self.eps = check_positive("lr", lr), check_positive("eps", eps)
        self.beta1, self.beta2 = _fraction("beta1", beta1), _fraction("beta2", beta2)
        self.how = Steps(check_count("steps", steps), batch if batch is None else check_count("batch", batch))
        self.ordered = batch is not None

    def adapt(self, support: Examples) -> Trajectory:
        """T updates from the first weights, as constants."""
        return self._follow(support, support)

    def predict(self, state: Trajectory, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run(self.net, query_x, state.weights))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks and steps of the query loss; there is nothing to train."""
        return self._follow(batch.support, batch.query).losses.mean()

    def _follow(self, support: Examples, judged: Examples) -> Trajectory:
        with torch.no_grad():
            phi = first_weights(self.net, self.names, len(support.x))
            size = sum(v[0].numel() for v in phi.values())
            zeros = next(iter(phi.values())).new_zeros(len(support.x), size)
            rule = (self._update, (zeros,) * RULES[self.rule])
            return follow(self.net, self.likelihood, phi, rule, support, judged, self.how)

    def _update(self, g: Tensor, memory: Memory, t: int) -> tuple[Tensor, Memory]:
        lr = self.lr * (1 + math.cos(math.pi * t / self.how.steps)) / 2 if self.decay == "cosine" else self.lr
        if self.rule == "sgd":
            return -lr * g, ()
        if self.rule in ("momentum", "nesterov"):
            v = self.beta1 * memory[0] + g
            return -lr * (g + self.beta1 * v if self.rule == "nesterov" else v), (v,)
        s = self.beta2 * memory[-1] + (1 - self.beta2) * g.square()
        if self.rule == "rmsprop":
            return -lr * g / (s.sqrt() + self.eps), (s,)
        m = self.beta1 * memory[0] + (1 - self.beta1) * g
        # alpha m^ / (sqrt(v^) + eps), m^ = m / (1 - beta1^t), v^ = v / (1 - beta2^t)          (alg. 1)
        unbiased = (s / (1 - self.beta2 ** (t + 1))).sqrt()
        return -lr / (1 - self.beta1 ** (t + 1)) * m / (unbiased + self.eps), (m, s)


class Tuned(NamedTuple):
    """The best point of a grid."""

    options: dict[str, float]  #: hyper-parameter -> value
    loss: float  #: the mean loss there
    table: dict[tuple[float, ...], float]  #: values in the order of the options -> mean loss; inf where it diverged


def tune(
    build: Callable[..., HandMade],
    tasks: Tasks,
    grid: Mapping[str, Sequence[float]],
    *,
    along: bool = False,
    problems: int = 2000,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Tuned:
    """The point of ``grid`` (option -> values in rising order) with the lowest mean loss on the query sets.

    build: (**options) -> optimiser. along: the mean over all steps counts, not the loss after the last.
    Every point sees the same ``problems`` tasks, drawn with ``seed``.

    Raises ValueError if the best point lies on an edge of the grid, where a better one may lie beyond; a value of 0 or
    an option with one value is no edge.
    """
    device = pick_device(device)
    batch = tasks.sample(check_count("problems", problems), make_generator(device, seed))
    table = {}
    for point in itertools.product(*grid.values()):
        optimiser = build(**dict(zip(grid, point, strict=True))).to(device)
        mean = float(_loss(optimiser, batch, along).double().mean())
        table[point] = mean if math.isfinite(mean) else math.inf
    best = min(table, key=lambda point: table[point])
    for name, value in zip(grid, best, strict=True):
        if len(grid[name]) > 1 and value in (grid[name][0], grid[name][-1]) and value != 0:
            raise ValueError(f"grid: {name} = {value:g} is best, at the edge of the values given; widen them")
    return Tuned(dict(zip(grid, best, strict=True)), table[best], table)


@torch.no_grad()
def _loss(optimiser: HandMade, batch: Episode, along: bool) -> Tensor:
    if along:
        return optimiser.meta_loss(batch)
    weights = optimiser.adapt(batch.support).weights
    return optimiser.likelihood.loss(run(optimiser.net, batch.query.x, weights), batch.query.y)


def _fraction(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{name}: {value!r} given; a number from 0 to below 1 is needed")
    return float(value)
