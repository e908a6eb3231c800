"""The two bounds of a latent variable model, where everything can be computed: z ~ N(0, 1), y ~ N(z, c^2)."""

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from metabook.episode import Episode, Examples
from metabook.latent import Gaussian, elbo, importance_weighted, log_weights

C = 0.7
PLUS_MINUS = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)  # mean 0 and square 1: exact for what is quadratic


class Conjugate:
    """Knows the exact posterior of z given any examples; ``wrong`` scales its width and shifts its mean."""

    def __init__(self, wrong=(1.0, 0.0)):
        self.wrong = wrong

    def belief(self, examples):
        # precision 1 + n / c^2, mean sum(y) / c^2 over it
        precision = 1 + examples.y.shape[1] / C**2
        mean = examples.y.sum(1) / C**2 / precision
        sd = torch.full_like(mean, precision**-0.5)
        scale, shift = self.wrong if examples.y.shape[1] > 2 else (1.0, 0.0)  # of the union with the queries only
        return Gaussian(mean + shift * sd, sd * scale)

    def adapt(self, support):
        return None

    def decode(self, state, z, query_x):
        mean = z.unsqueeze(-1).expand(-1, -1, query_x.shape[1], -1)
        return Independent(Normal(mean, C), 1)


def draw(b=4, queries=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(b, 1, 1, generator=generator, dtype=torch.float64)
    y = z + C * torch.randn(b, 2 + queries, 1, generator=generator, dtype=torch.float64)
    x = torch.zeros_like(y)
    return Episode(Examples(x[:, :2], y[:, :2]), Examples(x[:, 2:], y[:, 2:]))


def truth(episode):
    """log p(y_T | y_C): a joint Normal with covariance sd^2 + c^2 [i = j]."""
    belief, n = Conjugate().belief(episode.support), episode.query.y.shape[1]
    covariance = belief.sd[0].square() + C**2 * torch.eye(n, dtype=torch.float64)
    joint = MultivariateNormal(belief.mean.expand(-1, n), covariance.expand(len(belief.mean), n, n))
    return joint.log_prob(episode.query.y.squeeze(-1))


def test_kl_by_hand():
    """KL(N(1, 2^2) || N(0, 1)) = log(1/2) + (4 + 1)/2 - 1/2 = 2 - log 2. Two such dimensions: twice that."""
    p = Gaussian(torch.ones(1, 2, dtype=torch.float64), torch.full((1, 2), 2.0, dtype=torch.float64))
    q = Gaussian(torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    assert p.kl(q).item() == pytest.approx(2 * (2 - math.log(2)), rel=1e-14)
    assert p.kl(p).item() == 0


def test_kl_density_and_points_are_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    sds = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64) + 0.1
    a, b = (Gaussian(m, s) for m, s in zip(means, sds, strict=True))
    p, q = (Normal(m, s) for m, s in zip(means, sds, strict=True))
    torch.testing.assert_close(a.kl(b), kl_divergence(p, q).sum(-1), rtol=1e-12, atol=0)
    noise = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    z = torch.stack([p.loc + p.scale * e for e in noise])
    assert torch.equal(a.at(noise), z)
    torch.testing.assert_close(a.log_prob(z), p.log_prob(z).sum(-1), rtol=1e-12, atol=0)


def test_elbo_by_hand():
    """c = 1, no support to speak of: prior N(0, 1), posterior after one y = 2: N(1, 1/2). Noise +1 and -1:

    z = 1 +- 1/sqrt 2, so E (y - z)^2 = 1 + 1/2 and the fit is -3/4 - 1/2 log 2 pi.
    KL = 1/2 (1/2 + 1 - 1) + 1/2 log 2 = 1/4 + 1/2 log 2. The bound is -1 - 1/2 log 4 pi = log N(2; 0, 2): tight.
    """

    class Hand(Conjugate):
        def belief(self, examples):
            one = torch.ones(1, 1, dtype=torch.float64)
            return Gaussian(0 * one, one) if examples.y.shape[1] == 1 else Gaussian(one, one / math.sqrt(2))

        def decode(self, state, z, query_x):
            return Independent(Normal(z.unsqueeze(-1), 1.0), 1)

    y = torch.full((1, 1, 1), 2.0, dtype=torch.float64)
    bound = elbo(Hand(), Episode(Examples(0 * y, 0 * y), Examples(0 * y, y)), PLUS_MINUS)
    assert bound.item() == pytest.approx(-1 - 0.5 * math.log(4 * math.pi), rel=1e-12)


def test_with_the_exact_posterior_both_bounds_are_the_log_likelihood():
    episode = draw()
    torch.testing.assert_close(elbo(Conjugate(), episode, PLUS_MINUS), truth(episode), rtol=1e-12, atol=0)
    for samples in (1, 5):
        found = importance_weighted(Conjugate(), episode, samples=samples)
        torch.testing.assert_close(found, truth(episode), rtol=1e-10, atol=0)


def test_the_elbo_is_below_by_the_kl_from_the_exact_posterior():
    """log p(y_T | C) - ELBO = KL(q || p(z | C u T)), here of Normals with a shift and a wrong width."""
    episode, wrong = draw(), Conjugate((1.5, 0.4))
    both = Examples(torch.cat([p.x for p in episode], 1), torch.cat([p.y for p in episode], 1))
    gap = truth(episode) - elbo(wrong, episode, PLUS_MINUS)
    torch.testing.assert_close(gap, wrong.belief(both).kl(Conjugate().belief(both)), rtol=1e-9, atol=0)
    assert gap.min() > 0.1


def test_more_samples_tighten_the_importance_weighted_bound():
    """The mean over 4000 tasks rises from the ELBO towards the truth, and stays below it."""
    episode, wrong = draw(4000, seed=3), Conjugate((1.5, 0.4))
    means = [importance_weighted(wrong, episode, samples=k, seed=1).mean() for k in (1, 4, 32)]
    bound, exact = elbo(wrong, episode, PLUS_MINUS).mean(), truth(episode).mean()
    assert abs(means[0] - bound) < 0.05  # one sample: the same expectation
    assert bound + 0.05 < means[1] < means[2] < exact + 0.005


def test_the_weights_average_to_the_likelihood():
    """E_q w = p(y_T | C), whatever q: the mean of 100,000 weights of one task is within 2 %."""
    episode, noise = draw(1), torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0)).double()
    found = log_weights(Conjugate((1.5, 0.4)), episode, noise).logsumexp(0) - math.log(100_000)
    assert abs(found - truth(episode)).item() < 0.02
