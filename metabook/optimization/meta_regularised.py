"""Meta-regularised MAML: pay for what is known before the support set is read, so that it has to be read."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_choice, check_count, check_positive, check_weight
from metabook.episode import Episode, Examples
from metabook.inner_loop import descend, start, without_running_statistics
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, per_chunk, run

FORMS = ("weights", "activations")


class MRMAML(MetaLearner):
    """Meta-regularised MAML: what all tasks share costs bits, what the support set says is free.

    Yin, Tucker, Zhou, Levine, Finn (2020), arXiv:1912.03820, sec. 4, alg. 1: an encoder, the same for all tasks, turns
    x into a code z; a network on z adapts as in MAML. The encoder is regularised, the adapting network is not.

    form="weights", MR-MAML (W): the encoder's weights are drawn from q(theta) = N(mean, std^2), both learned, and
        beta KL(q(theta) || N(0, prior_std^2)) is added to the query loss.
    form="activations", MR-MAML (A): z is drawn from q(z | x) = N(mean(x), std(x)^2), and beta KL(q(z | x) || N(0, 1)),
        the mean over the queries, is added.

    State: the weights of each task's adapted network, name -> [B, *p].
    Chapter: optimization.
    Differs: noise is drawn in training alone, ``adapt`` and ``predict`` take the means. Without an encoder,
        form="weights" regularises the start of the adapting network itself, or the layers of it that ``priced`` names.
        Biases and scales have neither noise nor price. The authors' code for sine waves draws new weights for the
        queries, and divides the KL of z by its dimensions; here one draw serves a call of ``meta_loss``, and the KL
        is the sum.

    net: the network that adapts, from z (from x without encoder) to ``likelihood.size`` outputs.
    encoder: from x to z; for form="activations" to twice as many numbers, means first, then log standard deviations.
    priced: only weights whose name begins so are regularised, for example "head"; all when "".
    beta: price of a nat. prior_std, start_std: for form="weights", standard deviation of the prior, and of q at first.
    how, chunk: of ``net``, as in ``MAML``; the others too.

    Raises TypeError or ValueError for arguments out of range, form="activations" without an encoder, and layers that
    keep running statistics.
    """

    def __init__(
        self,
        net: nn.Module,
        likelihood: Likelihood,
        *,
        encoder: nn.Module | None = None,
        form: str = "weights",
        priced: str = "",
        beta: float = 1e-3,
        prior_std: float = 1.0,
        start_std: float = 0.01,
        inner_lr: float = 0.01,
        inner_steps: int = 1,
        first_order: bool = False,
        how: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(likelihood)
        self.net = without_running_statistics(net)
        self.encoder = None if encoder is None else without_running_statistics(encoder, "encoder")
        self.form = check_choice("form", form, FORMS)
        if form == "activations" and encoder is None:
            raise ValueError("encoder: None given; form='activations' needs one, from x to the mean and log std of z")
        self.priced = priced
        if form == "weights" and not self.noisy():
            raise ValueError(f"priced: {priced!r} given; no matrix or kernel of the network has a name that begins so")
        self.beta = check_weight("beta", beta)
        self.prior_std = check_positive("prior_std", prior_std)
        log_std = math.log(check_positive("start_std", start_std))
        self.log_std = nn.ParameterList(nn.Parameter(torch.full_like(p, log_std)) for p in self.noisy().values())
        self.inner_lr = check_positive("inner_lr", inner_lr)
        self.inner_steps = check_count("inner_steps", inner_steps, least=0)
        self.first_order = first_order
        self.how = how
        self.chunk = chunk if chunk is None else check_count("chunk", chunk)

    def noisy(self) -> dict[str, Tensor]:
        """The means of the weights that have noise, name -> [*p]; empty for form="activations"."""
        if self.form == "activations":
            return {}
        module = self.net if self.encoder is None else self.encoder
        return {k: p for k, p in module.named_parameters() if p.dim() > 1 and k.startswith(self.priced)}

    def adapt(self, support: Examples) -> Phi:
        """Weights after the inner steps, from the means, name -> [B, *p]."""
        return per_chunk(
            lambda s: self._adapt(self._mean_code(support.x[s]), support.y[s], {}),
            self.encoder or self.net,
            support.x,
            self.chunk,
        )

    def predict(self, state: Phi, query_x: Tensor) -> Distribution:
        """Each task's own network on the mean codes of its queries; batch shape [B, Q]."""

        def outputs(s: slice) -> Tensor:
            return run(self.net, self._mean_code(query_x[s]), {k: v[s] for k, v in state.items()}, how=self.how)

        return self.likelihood.distribution(per_chunk(outputs, self.encoder or self.net, query_x, self.chunk))

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean over tasks of the query loss after adaptation, under one draw of the noise, plus beta KL."""
        # theta = mean + std * noise, noise ~ N(0, 1)
        noisy = zip(self.noisy().items(), self.log_std, strict=True)
        theta = {k: mean + log_std.exp() * torch.randn_like(mean) for (k, mean), log_std in noisy}
        first = self.encoder or self.net
        losses = per_chunk(lambda s: self._losses(batch.tasks(s), theta), first, batch.support.x, self.chunk)
        return losses.mean() + self.beta * self.weight_kl().to(batch.support.x)

    def weight_kl(self) -> Tensor:
        """KL(q(theta) || N(0, prior_std^2)) in nats, a scalar; 0 for form="activations"."""
        pairs = zip(self.noisy().values(), self.log_std, strict=True)
        terms = [normal_kl(mean, log_std, self.prior_std).sum() for mean, log_std in pairs]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def _losses(self, part: Episode, theta: dict[str, Tensor]) -> Tensor:
        """Query loss plus beta times the mean KL of the queries' codes, [B]."""
        support_z, _ = self._draw_code(part.support.x, theta)
        query_z, kl = self._draw_code(part.query.x, theta)
        phi = self._adapt(support_z, part.support.y, theta)
        return self.likelihood.loss(run(self.net, query_z, phi, how=self.how), part.query.y) + self.beta * kl

    def _adapt(self, z: Tensor, y: Tensor, theta: dict[str, Tensor]) -> Phi:
        first = start(self.net, z.shape[0])
        if self.encoder is None:  # the start itself is drawn
            first = {k: theta[k].expand_as(v) if k in theta else v for k, v in first.items()}
        # phi' = phi - alpha * grad L(D; phi, z), once per step
        return descend(
            lambda phi: self.likelihood.loss(run(self.net, z, phi, how=self.how), y),
            first,
            lr=self.inner_lr,
            steps=self.inner_steps,
            first_order=self.first_order,
        )

    def _mean_code(self, x: Tensor) -> Tensor:
        if self.encoder is None:
            return x
        out = run(self.encoder, x)
        return _halves(out)[0] if self.form == "activations" else out

    def _draw_code(self, x: Tensor, theta: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The code [B, S, *Z] under this draw, and the mean over S of its KL, [B]."""
        free = x.new_zeros(len(x))
        if self.encoder is None:
            return x, free
        if self.form == "weights":
            all_weights = {k: theta.get(k, p) for k, p in self.encoder.named_parameters()}
            return run(self.encoder, x, {k: p.expand(len(x), *p.shape) for k, p in all_weights.items()}), free
        # z = mean(x) + std(x) * noise
        mean, log_std = _halves(run(self.encoder, x))
        return mean + log_std.exp() * torch.randn_like(mean), normal_kl(mean, log_std).sum(-1).mean(1)


def normal_kl(mean: Tensor, log_std: Tensor, prior_std: float = 1.0) -> Tensor:
    """KL(N(mean, std^2) || N(0, prior_std^2)) of each entry in nats, the shape of ``mean``."""
    # log(s / std) + (std^2 + mean^2) / (2 s^2) - 1/2
    return math.log(prior_std) - log_std + ((2 * log_std).exp() + mean.square()) / (2 * prior_std**2) - 0.5


def _halves(out: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log standard deviations [B, S, D] from an encoder's output [B, S, 2 D]."""
    if out.dim() != 3 or out.shape[-1] % 2:
        raise ValueError(f"encoder: output of shape {list(out.shape)} given; form='activations' needs [B, S, 2 D]")
    mean, log_std = out.chunk(2, -1)
    return mean, log_std
