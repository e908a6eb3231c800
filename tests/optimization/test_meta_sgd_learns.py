"""Meta-SGD against the best rates there are, which for linear models can be computed."""

import pytest
import torch

from metabook.episode import Episode, Examples
from metabook.evaluation import evaluate
from metabook.likelihood import Regression
from metabook.nn import MLP
from metabook.optimization import MAML, MetaSGD
from metabook.tasks.protocol import score_predictions
from metabook.training import train

SCALES, SHOTS, NOISE = torch.tensor([2.0, 1.0, 0.5]), 10, 0.5


class Scaled:
    """y = w . x + noise with w ~ N(0, I) for each task, and inputs of very different scales, x_j ~ N(0, s_j^2)."""

    likelihood, x_shape = Regression(), (3,)

    def sample(self, n, generator):
        x = torch.randn(n, SHOTS + 20, 3, generator=generator) * SCALES
        w = torch.randn(n, 3, 1, generator=generator)
        y = x @ w + NOISE * torch.randn(n, SHOTS + 20, 1, generator=generator)
        return Episode(Examples(x[:, :SHOTS], y[:, :SHOTS]), Examples(x[:, SHOTS:], y[:, SHOTS:]))

    def score(self, learner, batch):
        return score_predictions(learner, batch)


def best_rates():
    """One step from w = 0 ends at w'_j = alpha_j c_j with c_j = (2 / S) sum_s x_sj y_s.

    The expected query loss is sum_j s_j^2 E (alpha_j c_j - w_j)^2 + noise^2, so alpha_j = E c_j w_j / E c_j^2, where
        E c_j w_j = 2 s_j^2,
        E c_j^2 = (4 / S) [s_j^2 (sum_k s_k^2 + noise^2) + 2 s_j^4 + (S - 1) s_j^4].
    (Of E x_j^2 y^2 the part sum_k s_j^2 s_k^2 counts k = j once; a normal fourth moment is 3 s_j^4.)
    What remains is sum_j s_j^2 (1 - alpha_j E c_j w_j) + noise^2. For one rate for all, both sums run over j first.
    """
    s2 = SCALES.square()
    cw = 2 * s2
    c2 = 4 / SHOTS * (s2 * (s2.sum() + NOISE**2) + (SHOTS + 1) * s2.square())
    alpha, single = cw / c2, (s2 * cw).sum() / (s2 * c2).sum()
    loss = (s2 * (1 - alpha * cw)).sum() + NOISE**2
    loss_of_one = (s2 * (1 - 2 * single * cw + single**2 * c2)).sum() + NOISE**2
    return alpha, loss.item(), single.item(), loss_of_one.item()


def linear(kind, **options):
    net = MLP(3, 1, hidden=())
    torch.nn.init.zeros_(net.layers[0].weight)
    torch.nn.init.zeros_(net.layers[0].bias)
    return kind(net, Regression(), **options)


def mse(learner):
    return evaluate(learner, Scaled(), episodes=8000, batch=1000, device="cpu")["mse"]


def test_the_best_rates_are_found_and_the_best_single_rate_is_beaten():
    """The best rates are 0.10, 0.30 and 0.61; with them the error is 1.59, with the best single rate 1.90.

    Those are the optima of Meta-SGD and of MAML for linear models on these tasks; without adaptation it is 5.5.
    """
    alpha, optimum, single, optimum_of_one = best_rates()
    assert (optimum, optimum_of_one) == pytest.approx((1.59, 1.90), abs=0.005)
    maml = mse(linear(MAML, inner_lr=single))
    assert abs(maml.mean - optimum_of_one) < 2 * maml.interval  # the derivation holds

    learner = linear(MetaSGD, inner_lr=single)
    train(learner, Scaled(), steps=1200, batch=50, lr=2e-3, device="cpu", progress="none")
    learned = learner.rates["layers.0.weight"].detach()[0]
    torch.testing.assert_close(learned, alpha, rtol=0.15, atol=0)
    ours = mse(learner)
    assert ours.mean < 1.03 * optimum
    better = maml.difference(ours)
    assert better.mean > 4 * better.interval and better.mean > 0.7 * (optimum_of_one - optimum)
