"""MetaNetworks: read the support set, write an architecture, then the weights that belong to it.

support -> encoder -> q(z) -> code z -> chooser -> belief p(a, v | z) -> choice: operations a, inputs of nodes v
z, a, v -> writer g -> phi_0 = theta + g(z, a, v), theta the net's own -> gradient steps on the support set -> phi
query x -> net with a, v and phi -> prediction
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice, check_count, check_weight
from metabook.episode import Episode, Examples
from metabook.inner_loop import check_descent, descend, start, without_running_statistics
from metabook.latent import Gaussian
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk
from metabook.nn import CellNet, NetworkGenerator
from metabook.nn.architecture import Architecture
from metabook.nn.weight_generator import add

WAYS = ("decoupled", "straight-through", "soft")


class TaskNetwork(NamedTuple):
    """What a task is: its code, and the network written from it."""

    code: Tensor  #: [B, Z], or [B, N, Z] with a code for each class
    belief: Architecture  #: p(a, v | z), how probable each choice is
    choice: Architecture  #: a and v, what the network uses: one-hot, or with "soft" the belief itself
    weights: Phi  #: phi, name -> [B, *p], after the steps; without steps what is written, as all else is shared
    kl: Tensor  #: of q(z) to a standard normal, in nats, [B]


class MetaNetworks(MetaLearner):
    """MetaNetworks: write a network for each task, first its architecture, then its weights, then take steps.

    Known under this name from descriptions alone; M-NAS (Wang et al. 2020, AAAI) is nearest. The parts: a variational
    encoder (Kingma and Welling 2014), choices as in Liu, Simonyan, Yang (2019), the hypernetwork of Ha et al. (2017).
    State: code [B, Z], belief and choice [B, E, O] and [B, E], weights name -> [B, *p], kl [B] (``TaskNetwork``).
    Chapter: metanetworks.
    Differs: how to train the choice, ``choose``, is open. "decoupled" compares query losses of several choices, each
        with weights of its own: the weights learn from all, as likely as they are (and any with probability
        ``exploration``), the choice from which was best (cross-entropy to ``responsibilities``), the encoder from both.
        "straight-through" and "soft" are one gradient end to end, through one-hot choices or a mixture of all.

    net: the cell network. encoder: any module from the support set to [B, 2 Z], mean and log standard deviation of the
        code, or [B, N, 2 Z] for classes. chooser: from z to the belief; one that is ``shared`` is judged by the mean
        over tasks. writer: from z, a and v to g, a ``WeightGenerator``; with ``NothingWritten`` all start from theta.
    kl_weight: beta; with 0 the code is its mean. cost_weight: nats for each multiply-add of a prediction.
    entropy_weight: on the entropy of the choices, in the end-to-end ways.
    exploration, sharpness, draws: of "decoupled"; draws of choices, where a cell has too many to compare them all.
    inner_lr, inner_steps, first_order, clip, chunk: as in ``MAML``.

    Raises TypeError or ValueError for an unknown way to choose, weights below 0, counts below 1, a rate that is not
    above 0, an exploration above 1, and a layer that keeps running statistics.
    """

    def __init__(
        self,
        net: CellNet,
        encoder: nn.Module,
        chooser: NetworkGenerator,
        writer: nn.Module,
        likelihood: Likelihood,
        *,
        choose: str = "decoupled",
        kl_weight: float = 1e-3,
        cost_weight: float = 0.0,
        entropy_weight: float = 0.0,
        exploration: float = 0.1,
        sharpness: float = 5.0,
        draws: int = 4,
        inner_lr: float = 0.01,
        inner_steps: int = 0,
        first_order: bool = False,
        clip: float | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        without_running_statistics(net)
        self.net = net
        self.encoder = without_running_statistics(encoder, "encoder")
        self.chooser, self.writer = chooser, writer
        self.choose = check_choice("choose", choose, WAYS)
        self.kl_weight = check_weight("kl_weight", kl_weight)
        self.cost_weight = check_weight("cost_weight", cost_weight)
        self.entropy_weight = check_weight("entropy_weight", entropy_weight)
        self.sharpness = check_weight("sharpness", sharpness)
        if check_weight("exploration", exploration) > 1:
            raise ValueError(f"exploration: {exploration} given; 0 to 1 is allowed")
        self.exploration, self.draws = exploration, check_count("draws", draws)
        self.inner_lr, self.inner_steps, self.clip, self.chunk = check_descent(inner_lr, inner_steps, clip, chunk)
        self.first_order = first_order or choose != "soft"  # what compares or is one-hot stops gradients on purpose
        self.second_order = not first_order  #: whether the gradient goes through the gradients of the inner steps

    def adapt(self, support: Examples) -> TaskNetwork:
        """The network of each task: the mean of its code, the most probable choices, the weights after the steps."""

        def network(s: slice) -> TaskNetwork:
            part = support.tasks(s)
            q = self.believe(part)
            belief = self.chooser(q.mean)
            choice = belief if self.choose == "soft" else belief.discrete()
            return TaskNetwork(q.mean, belief, choice, self._weights(q.mean, choice, part), _kl(q))

        return per_chunk(network, self.net, support.x, self.chunk)

    def predict(self, state: TaskNetwork, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        phi = {**state.weights, **state.choice._asdict()}  # a and v take the place of the cell's buffers
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, phi, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of query loss + beta KL + what trains the choice; it trains theta and all three networks."""
        losses = self._compared if self.choose == "decoupled" else self._end_to_end
        # z ~ N(mu, sigma^2); the same noise for all tasks of a batch and all classes. Of ``like`` the form counts alone
        like = self.believe(batch.support.tasks(slice(1))).mean
        noise = torch.randn(like.shape[-1]).to(like) if self.kl_weight else like.new_zeros(like.shape[-1])

        def of(s: slice) -> Tensor:
            part = batch.tasks(s)
            q = self.believe(part.support)
            return losses(part, q.mean + q.sd * noise) + self.kl_weight * _kl(q)

        return per_chunk(of, self.net, batch.support.x, self.chunk).mean()

    def believe(self, support: Examples) -> Gaussian:
        """q(z | support), the belief about the code of each task: mean and sd [B, Z], or [B, N, Z]."""
        mean, log_sd = self.encoder(*support).chunk(2, -1)
        return Gaussian(mean, log_sd.exp())

    def _compared(self, batch: Episode, code: Tensor) -> Tensor:
        """K choices for every task, each with its own weights; what trains weights and belief: [B]."""
        belief, b = self.chooser(code), batch.batch_size
        explored = Architecture(*(p.detach() for p in belief.explored(self.exploration)))
        if len(self.net.edges) == 1:  # all of them
            choices = Architecture(*(c.repeat(b, *[1] * (c.dim() - 1)) for c in self.net.every_choice()))
            weights = explored.log_prob(choices).exp()  # (1 - epsilon) stopgrad(p_o) + epsilon / O
            log_drawn = torch.zeros_like(weights)  # each is there once
        else:  # draws
            choices = explored.draw(self.draws, alike=self.chooser.shared)
            weights = torch.full_like(explored.log_prob(choices), 1 / self.draws)
            log_drawn = explored.log_prob(choices)  # drawn often must not mean responsible
        k = weights.shape[1]
        # every task K times, once for each choice: [B K, ...]
        many = Episode(*(Examples(*(t.repeat_interleave(k, 0) for t in part)) for part in batch))
        fits = self._fit(many, code.repeat_interleave(k, 0), choices).unflatten(0, (b, k))
        costs = self.cost_weight * self.net.cost(choices).unflatten(0, (b, k))
        judged = fits.detach().mean(0, keepdim=True) if self.chooser.shared else fits.detach()
        r = responsibilities(judged, costs + log_drawn, self.sharpness)
        # sum over o of w_o L_o  -  sum over o of r_o log p_o
        return (weights * fits).sum(1) - (r * belief.log_prob(choices)).sum(1)

    def _end_to_end(self, batch: Episode, code: Tensor) -> Tensor:
        """One choice or mixture for every task, through which the gradient goes; what trains it all: [B]."""
        belief = self.chooser(code)
        used = belief if self.choose == "soft" else belief.straight_through()
        regulariser = self.cost_weight * self.net.cost(used) + self.entropy_weight * belief.entropy()
        return self._fit(batch, code, used) + regulariser

    def _fit(self, batch: Episode, code: Tensor, choice: Architecture) -> Tensor:
        """Query losses of the networks with these choices, whose weights are written and stepped on the support."""
        weights = self._weights(code, choice, batch.support)
        return self._losses({**weights, **choice._asdict()}, batch.query)

    def _weights(self, code: Tensor, choice: Architecture, support: Examples) -> Phi:
        # phi_0 = theta + g(z, a, v);  phi_{t+1} = phi_t - alpha * grad L(phi_t), a and v fixed
        written = self.writer(code, choice.operations * choice.inputs.unsqueeze(2))
        return descend(
            lambda phi: self._losses({**phi, **choice._asdict()}, support),
            add(start(self.net, len(support.x), None if self.inner_steps else written), written),
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=not self.second_order,
            clip=self.clip,
        )

    def _losses(self, phi: Phi, examples: Examples) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi), examples.y)


def responsibilities(fits: Tensor, costs: Tensor | float, sharpness: float) -> Tensor:
    """How responsible each of K choices is for its task, [B, K]; they sum to 1.

    fits: query losses, [B, K]. costs: subtracted in nats. A loss c times another is c^sharpness less responsible;
    losses well below 0.01 count as equal.
    """
    return (-sharpness * (fits + 0.01).log() - costs).softmax(1)


def _kl(q: Gaussian) -> Tensor:
    """KL to a standard normal in nats, [B], summed over classes where each has a code."""
    prior = Gaussian(torch.zeros_like(q.mean), torch.ones_like(q.sd))
    return q.kl(prior).flatten(1).sum(1) if q.mean.dim() == 3 else q.kl(prior)
