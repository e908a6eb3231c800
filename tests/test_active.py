"""The choice of the next example: by hand, against exhaustive search with loops, and what it is worth."""

from __future__ import annotations

import math

import pytest
import torch

from metabook.active import choose, errors, spread, take
from metabook.baselines import ExactGP
from metabook.episode import Examples
from metabook.evaluation import Score
from metabook.tasks.gaussian_process import GaussianProcess

SCALE, NOISE = 0.5, 0.05


def pool_of(*places, y=None):
    x = torch.tensor(places, dtype=torch.float64).view(1, -1, 1)
    return Examples(x, torch.zeros_like(x) if y is None else torch.tensor(y, dtype=torch.float64).view(1, -1, 1))


def test_the_spread_after_one_example_by_hand():
    """Noise 1, length-scale 1, one example at 0: variance 1 + 1 - k(x, 0)^2 / 2 with k = exp(-x^2 / 2)."""
    learner = ExactGP(length_scale=1.0, noise=1.0)
    found = spread(learner, pool_of(0.0), pool_of(0.0, 1.0, 9.0).x)
    assert found.flatten().tolist() == pytest.approx(
        [math.sqrt(1.5), math.sqrt(2 - math.exp(-1) / 2), math.sqrt(2)], abs=1e-9
    )


def test_the_spread_of_a_mixture_by_hand():
    """Two length-scales with equal weight whose means are 1 and 3 and variances 1 and 2: 1.5 + 1 = 2.5."""

    class Two:
        def adapt(self, support):
            return None

        def predict(self, state, x):
            from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

            mean = torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 1, 1, 2)
            sd = torch.tensor([1.0, math.sqrt(2)], dtype=torch.float64).view(1, 1, 1, 2)
            return Independent(MixtureSameFamily(Categorical(torch.ones(1, 1, 1, 2).double()), Normal(mean, sd)), 1)

    assert spread(Two(), pool_of(0.0), pool_of(0.0).x).item() == pytest.approx(math.sqrt(2.5))


def test_of_a_gaussian_process_the_targets_change_no_choice():
    """The variance 1 + noise^2 - k^T (K + noise^2 I)^-1 k has no y in it. With the length-scale unknown it has."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(3, 20, 1, generator=g, dtype=torch.float64) * 4 - 2
    pools = [Examples(x, torch.randn(3, 20, 1, generator=g, dtype=torch.float64)) for _ in range(2)]
    known = [choose(ExactGP(length_scale=SCALE), pool, picks=8) for pool in pools]
    assert torch.equal(*known)
    unknown = [choose(ExactGP(), pool, picks=8) for pool in pools]
    assert not torch.equal(*unknown)


def test_two_choices_by_hand():
    """One example at 0. Of 0.1, 2 and 1 the farthest, 2, is the least known; then 1, the middle, before 0.1."""
    assert choose(ExactGP(length_scale=SCALE), pool_of(0.0, 0.1, 2.0, 1.0), picks=4).tolist() == [[0, 2, 3, 1]]


def by_loops(x, picks):
    """Greedy choice for one task: at each step invert the covariance of what is seen, once for every candidate."""

    def k(a, b):
        return math.exp(-((a - b) ** 2) / (2 * SCALE**2))

    seen = [0]
    while len(seen) < picks:
        best, where = -1.0, -1
        for j in range(len(x)):
            if j in seen:
                continue
            cov = torch.tensor([[k(x[a], x[b]) + (NOISE**2 + 1e-10) * (a == b) for b in seen] for a in seen]).double()
            cross = torch.tensor([k(x[a], x[j]) for a in seen]).double()
            variance = 1 + NOISE**2 - float(cross @ torch.linalg.inv(cov) @ cross)
            if variance > best:
                best, where = variance, j
        seen.append(where)
    return seen


def test_greedy_choice_against_exhaustive_search():
    pool = GaussianProcess(shots=15, queries=1, length_scale=SCALE).sample(4, torch.Generator().manual_seed(1)).support
    pool = pool.to(dtype=torch.float64)
    found = choose(ExactGP(length_scale=SCALE, noise=NOISE), pool, picks=7)
    for i in range(4):
        assert found[i].tolist() == by_loops(pool.x[i, :, 0].tolist(), 7)


def test_nothing_is_chosen_twice_and_the_first_ones_are_given():
    pool = GaussianProcess(shots=9, queries=1).sample(5, torch.Generator().manual_seed(2)).support
    for choice in ("uncertain", "random"):
        found = choose(ExactGP(), pool, picks=9, first=2, choice=choice, generator=torch.Generator().manual_seed(0))
        assert found[:, :2].tolist() == [[0, 1]] * 5
        assert found.sort(1).values.tolist() == [list(range(9))] * 5


def test_a_target_that_was_not_chosen_is_not_read():
    """The third example of this pool is chosen last; its target may be anything until then."""
    pools = [pool_of(0.0, 2.0, 0.1, 1.0, y=[0.0, 1.0, last, -1.0]) for last in (0.0, 100.0)]
    found = [choose(ExactGP(noise=0.3), pool, picks=4) for pool in pools]
    assert torch.equal(*found) and found[0][0, -1] == 2


def test_errors_by_hand():
    """Noise 1, examples (0, 2) and (9, 0), a query at 0 with target 1: the mean is 2 / 2 = 1, exact, with the first.
    With the second alone it is 0: error 1, then 0."""
    learner, pool = ExactGP(length_scale=1.0, noise=1.0), pool_of(0.0, 9.0, y=[2.0, 0.0])
    query = pool_of(0.0, y=[1.0])
    assert errors(learner, pool, torch.tensor([[0, 1]]), query).flatten().tolist() == pytest.approx([0, 0], abs=1e-9)
    assert errors(learner, pool, torch.tensor([[1, 0]]), query).flatten().tolist() == pytest.approx([1, 0], abs=1e-9)
    assert take(pool, torch.tensor([[1]])).x.item() == 9.0


def test_looking_where_one_is_unsure_is_worth_more_than_looking_anywhere():
    """After six examples of a known process, over 200 tasks, outside the interval of the paired difference."""
    tasks = GaussianProcess(shots=40, queries=40, length_scale=SCALE)
    pool, query = tasks.sample(200, torch.Generator().manual_seed(3))
    learner, g = ExactGP(length_scale=SCALE), torch.Generator().manual_seed(0)
    at = {
        c: errors(learner, pool, choose(learner, pool, picks=6, choice=c, generator=g), query)
        for c in ("random", "uncertain")
    }
    assert torch.equal(at["random"][:, 0], at["uncertain"][:, 0])  # the same first example
    gain = Score((at["random"] - at["uncertain"])[:, -1])
    assert gain.mean > 2 * gain.interval


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"picks": 5}, "picks: 5 given; the pool has 4"),
        ({"picks": 2, "first": 3}, "first: 3 given; at most the 2"),
        ({"choice": "best"}, "choice: 'best' given; allowed are uncertain, random"),
        ({"picks": 0}, "picks: 0 given"),
    ],
)
def test_what_cannot_be_chosen_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        choose(ExactGP(), pool_of(0.0, 1.0, 2.0, 3.0), **{"picks": 3, **options})
