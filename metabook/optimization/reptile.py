"""Reptile: learn where gradient descent should start, from where it ends."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice, check_count, check_positive
from metabook.episode import Episode, Examples, union
from metabook.inner_loop import gradient, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run, run_per_chunk

OPTIMIZERS = ("sgd", "adam")
BETA2, EPSILON = 0.999, 1e-8  #: of Adam, as published; beta1 is 0, as the authors of Reptile have it


class Reptile(MetaLearner):
    """Reptile: train on a task for a few steps, then move the start towards where they ended.

    Nichol, Achiam, Schulman (2018), arXiv:1803.02999, alg. 1-2.
    State: the weights of each task, name -> [B, *p].
    Chapter: optimization.
    Differs: the minibatches of a task are dealt out in turn, not drawn at random; Adam begins every task afresh, where
        the authors' code keeps its second moments from one task to the next.

    The gradient of ``meta_loss`` is theta minus the mean of the adapted weights. So plain SGD of rate eps is the outer
    step of the paper, theta + eps (mean phi - theta), and eps = 1 puts theta at the mean; Adam works too.

    net: any module with parameters, from inputs to ``likelihood.size`` outputs.
    inner_lr, inner_steps, inner_batch: size and number of the steps of training, and how many examples of support and
        query set together each of them sees. inner_optimizer: "sgd", or "adam" with beta1 = 0.
    test_steps, test_batch: steps on a new task, and how many support examples each sees; all of them when None. With a
        number the order of the support set matters, and ``ordered`` says so.
    how: how the network runs over tasks (see ``metabook.mapping.run``); chunk: how many tasks adapt together. Both are
        chosen by device and network when None.

    Raises ValueError if a layer keeps running statistics: they would mix the tasks.
    """

    first_order = True

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        inner_lr: float = 0.001,
        inner_steps: int = 5,
        inner_batch: int = 10,
        inner_optimizer: str = "adam",
        test_steps: int = 50,
        test_batch: int | None = None,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.inner_steps = check_count("inner_steps", inner_steps)
        self.inner_batch = check_count("inner_batch", inner_batch)
        self.inner_optimizer = check_choice("inner_optimizer", inner_optimizer, OPTIMIZERS)
        self.test_steps = check_count("test_steps", test_steps, least=0)
        self.test_batch = test_batch if test_batch is None else check_count("test_batch", test_batch)
        self.ordered = test_batch is not None
        self.how = how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def adapt(self, support: Examples) -> Phi:
        """Weights after ``test_steps`` steps, name -> [B, *p], as constants: nothing is differentiated through them."""

        def adapted(s: slice) -> Phi:
            return self._descend(support.tasks(s), self.test_steps, self.test_batch)[0]

        with torch.no_grad():
            return per_chunk(adapted, self.net, support.x, self.chunk)

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's own network on its queries; batch shape [B, Q]."""
        return self.likelihood.distribution(run_per_chunk(self.net, query_x, state, how=self.how, chunk=self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """A scalar whose gradient is theta - mean phi; its value is the mean loss of the last minibatches.

        Each is taken before the step on it: with more minibatches than steps, on examples that were not used yet.
        """
        examples = union(*batch)

        def trained(s: slice) -> tuple[Phi, Tensor]:
            return self._descend(examples.tasks(s), self.inner_steps, self.inner_batch)

        with torch.no_grad():
            phi, losses = per_chunk(trained, self.net, examples.x, self.chunk)
            mean = {k: v.mean(0) for k, v in phi.items()}
        theta = dict(self.net.named_parameters())
        # theta <- theta + eps * 1/n sum_i (phi_i - theta), as a gradient: grad = theta - 1/n sum_i phi_i     (alg. 2)
        g = torch.stack([(theta[k] * (theta[k].detach() - v)).sum() for k, v in mean.items()]).sum()
        return losses.mean() + (g - g.detach())  # adds nothing to the value

    def _descend(self, examples: Examples, steps: int, size: int | None) -> tuple[Phi, Tensor]:
        """Weights after the steps, name -> [b, *p]; the losses [b] of the last minibatch, before the step on it."""
        phi, last = start(self.net, len(examples.x)), examples.x.new_zeros(len(examples.x))
        square = {k: torch.zeros_like(v) for k, v in phi.items()}
        for t in range(steps):
            losses = partial(self._losses, examples if size is None else examples.minibatch(t, size))
            if t == steps - 1:
                last = losses(phi)
            grads = gradient(losses, {k: v.detach().requires_grad_() for k, v in phi.items()}, create_graph=False)
            if self.inner_optimizer == "adam":
                # v_t = b v_{t-1} + (1 - b) g^2;  step: g / (sqrt(v_t / (1 - b^t)) + e)     (Kingma and Ba 2015, alg. 1)
                square = {k: BETA2 * v + (1 - BETA2) * grads[k].square() for k, v in square.items()}
                right = 1 - BETA2 ** (t + 1)
                grads = {k: g / ((square[k] / right).sqrt() + EPSILON) for k, g in grads.items()}
            phi = {k: v - self.inner_lr * grads[k] for k, v in phi.items()}
        return phi, last

    def _losses(self, examples: Examples, phi: Phi) -> Tensor:
        return self.likelihood.loss(run(self.net, examples.x, phi, how=self.how), examples.y)
