"""What first-order methods keep: the meta-gradients to first order in the inner rate, derived by hand.

A task has two minibatches, 1 and 2, with gradients g1, g2 and Hessians H1, H2 at theta. One step on the first leads to
theta - a g1, where the gradient of the second loss is

    L2'(theta - a g1) = g2 - a H2 g1 + O(a^2).

    first-order MAML  takes it as it is:                       g2 - a H2 g1
    MAML              multiplies by 1 - a H1:                  g2 - a H2 g1 - a H1 g2
    Reptile, over a   adds it to the first step's gradient:    g1 + g2 - a H2 g1

The order of the two minibatches is drawn by chance. The mean over both orders turns g1 and g2 into AvgGrad =
(g1 + g2) / 2, and H2 g1 and H1 g2 into AvgGradInner = (H2 g1 + H1 g2) / 2 = grad(g1 . g2) / 2. That leaves

    MAML: AvgGrad - 2 a AvgGradInner,    first-order MAML: AvgGrad - a AvgGradInner,
    Reptile: 2 AvgGrad - a AvgGradInner

(Nichol, Achiam, Schulman 2018, arXiv:1803.02999, sec. 5.1, with k = 2). With k minibatches the step of Reptile is
sum_i g_i - a sum_{j < i} H_i g_j, and its mean over all orders k AvgGrad - a k (k - 1) / 2 AvgGradInner.
"""

import itertools

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from metabook.episode import Episode, Examples
from metabook.likelihood import Classification
from metabook.optimization import MAML, Reptile

EACH = 4  # examples of a minibatch


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()


NET = network()
LIKELIHOOD = Classification(3)


def minibatches(k):
    """k minibatches of one task: x [EACH, 2], y [EACH]."""
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(k, EACH, 2, generator=generator, dtype=torch.float64)
    return list(zip(x, torch.randint(3, (k, EACH), generator=generator), strict=True))


def join(*parts):
    return Examples(torch.cat([x for x, _ in parts]).unsqueeze(0), torch.cat([y for _, y in parts]).unsqueeze(0))


def in_turn(parts):
    """Their examples in the order in which ``Examples.minibatch`` deals them out to these very minibatches."""
    x = torch.stack([x for x, _ in parts], 1).flatten(0, 1)
    y = torch.stack([y for _, y in parts], 1).flatten()
    half = len(x) // 2
    return Episode(join((x[:half], y[:half])), join((x[half:], y[half:])))


def meta_gradient(learner, episode):
    grads = torch.autograd.grad(learner.meta_loss(episode), list(learner.parameters()))
    return torch.cat([g.flatten() for g in grads])


def maml(parts, rate, **options):
    learner = MAML(NET, LIKELIHOOD, inner_lr=rate, **options)
    return meta_gradient(learner, Episode(join(parts[0]), join(parts[1])))


def reptile(parts, rate):
    options = {"inner_steps": len(parts), "inner_batch": EACH, "inner_optimizer": "sgd"}
    return meta_gradient(Reptile(NET, LIKELIHOOD, inner_lr=rate, **options), in_turn(parts)) / rate


SYSTEMS = {
    "MAML": maml,
    "first-order MAML": lambda parts, rate: maml(parts, rate, first_order=True),
    "Reptile": reptile,
}
COEFFICIENTS = {"MAML": (1, 2), "first-order MAML": (1, 1), "Reptile": (2, 1)}  # of AvgGrad, and of -a AvgGradInner


def derivatives(parts):
    """Gradient and Hessian of each minibatch's loss at theta, all weights in one vector."""
    theta = torch.cat([p.detach().flatten() for p in NET.parameters()])
    sizes = [p.numel() for p in NET.parameters()]

    def loss(vector, x, y):
        pieces = vector.split(sizes)
        weights = {n: v.view(p.shape) for (n, p), v in zip(NET.named_parameters(), pieces, strict=True)}
        return nn.functional.cross_entropy(functional_call(NET, weights, (x,)), y)

    return [jacrev(loss)(theta, x, y) for x, y in parts], [jacrev(jacrev(loss))(theta, x, y) for x, y in parts]


def order(found, expected, rates=(4e-3, 2e-3, 1e-3)):
    """p of an error that falls as rate^p, from the last halving; ``found`` and ``expected``: rate -> vector."""
    errors = [(found(rate) - expected(rate)).norm() for rate in rates]
    assert errors[0] > errors[1] > errors[2] > 1e-9, "above rounding"
    return torch.log2(errors[1] / errors[2]).item()


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_meta_gradient_to_first_order_in_the_inner_rate(name):
    parts = minibatches(2)
    (g1, g2), (h1, h2) = derivatives(parts)
    constant = {"Reptile": g1 + g2}.get(name, g2)
    linear = {"MAML": h2 @ g1 + h1 @ g2}.get(name, h2 @ g1)
    found = order(lambda a: SYSTEMS[name](parts, a), lambda a: constant - a * linear)
    assert found == pytest.approx(2, abs=0.05)


def both_orders(name, rate):
    parts = minibatches(2)
    return (SYSTEMS[name](parts, rate) + SYSTEMS[name](parts[::-1], rate)) / 2


def two_terms(of_mean, of_inner, rate):
    (g1, g2), (h1, h2) = derivatives(minibatches(2))
    return of_mean * (g1 + g2) / 2 - rate * of_inner * (h2 @ g1 + h1 @ g2) / 2


@pytest.mark.parametrize("name", SYSTEMS)
def test_over_both_orders_two_terms_are_left_with_these_coefficients(name):
    found = order(lambda a: both_orders(name, a), lambda a: two_terms(*COEFFICIENTS[name], a))
    assert found == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("name", SYSTEMS)
def test_with_any_other_coefficient_the_error_falls_more_slowly(name):
    of_mean, of_inner = COEFFICIENTS[name]
    for wrong in (of_inner - 1, of_inner + 1):
        found = order(lambda a, w=wrong: both_orders(name, a), lambda a, w=wrong: two_terms(of_mean, w, a))
        assert found == pytest.approx(1, abs=0.05)


def test_the_second_term_is_half_the_gradient_of_the_inner_product():
    """H2 g1 + H1 g2 = grad(g1 . g2): where it grows, a step on one minibatch helps the other."""
    (g1, g2), (h1, h2) = derivatives(minibatches(2))
    weights = list(NET.parameters())
    grads = [
        torch.autograd.grad(nn.functional.cross_entropy(NET(x), y), weights, create_graph=True)
        for x, y in minibatches(2)
    ]
    product = sum((a * b).sum() for a, b in zip(*grads, strict=True))
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(product, weights)])
    torch.testing.assert_close(h2 @ g1 + h1 @ g2, slope, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("k", [3, 4])
def test_reptile_with_more_minibatches(k):
    parts = minibatches(k)
    g, h = derivatives(parts)
    linear = sum(h[i] @ g[j] for i in range(k) for j in range(i))
    found = order(lambda a: reptile(parts, a), lambda a: sum(g) - a * linear)
    assert found == pytest.approx(2, abs=0.05)


def test_reptile_over_all_orders_of_three_minibatches():
    parts = minibatches(3)
    g, h = derivatives(parts)
    inner = sum(h[i] @ g[j] for i, j in itertools.permutations(range(3), 2)) / 6
    orders = list(itertools.permutations(parts))
    found = order(lambda a: sum(reptile(p, a) for p in orders) / 6, lambda a: sum(g) - 3 * a * inner)
    assert found == pytest.approx(2, abs=0.05)


def test_one_minibatch_twice_asks_for_long_gradients_and_not_for_gradients_that_agree():
    """With the same minibatch in both steps the term is H1 g1 = grad |g1|^2 / 2: nothing links it to other examples."""
    first = minibatches(1)[0]
    (g,), (h,) = derivatives([first])
    found = order(lambda a: reptile([first, first], a), lambda a: 2 * g - a * h @ g)
    assert found == pytest.approx(2, abs=0.05)
