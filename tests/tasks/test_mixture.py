"""Tasks of several kinds: each comes from its own distribution, in the order asked for, and all are as likely."""

import pytest
import torch

from metabook.checks import check_episode
from metabook.registry import build
from metabook.tasks import Clusters, FewShot, LinearRegression, Mixture, Sinusoids


class Constant:
    """Regression tasks all of whose inputs and targets are ``value`` and whose support set is of ``shots``."""

    def __init__(self, value, shots=3):
        linear = LinearRegression(dim=2, shots=shots)
        self.likelihood, self.x_shape, self.value, self.linear = linear.likelihood, linear.x_shape, value, linear

    def sample(self, n, generator):
        return self.linear.sample(n, generator).__class__(
            *(part._replace(x=part.x * 0 + self.value) for part in self.linear.sample(n, generator))
        )

    def score(self, learner, batch):
        return self.linear.score(learner, batch)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_task_is_of_the_kind_asked_for_in_that_order():
    tasks = Mixture([Constant(1.0), Constant(2.0), Constant(3.0)])
    kinds = torch.tensor([2, 0, 0, 1, 2, 0])
    episode = tasks.episode(kinds, generator())
    check_episode(episode, tasks.likelihood, tasks.x_shape)
    for part in episode:
        assert torch.equal(part.x, (kinds + 1.0).view(-1, 1, 1).expand_as(part.x))


def test_support_query_and_targets_stay_together():
    """A line through the points of both sets of a task: its targets fit its own inputs alone."""
    tasks = Mixture([LinearRegression(dim=2, noise=1e-4, shots=20), LinearRegression(dim=2, noise=1e-4, shots=20)])
    support, query = tasks.sample(50, generator()).to(dtype=torch.float64)
    ones = torch.ones(50, 20, 1, dtype=torch.float64)
    fit = torch.linalg.lstsq(torch.cat([support.x, ones], -1), support.y).solution
    there = torch.cat([query.x, torch.ones(*query.x.shape[:2], 1, dtype=torch.float64)], -1) @ fit
    assert (there - query.y).abs().max() < 0.01


def test_kinds_are_equally_likely_and_need_not_all_be_there():
    tasks = Mixture([Constant(v) for v in (0.0, 1.0, 2.0, 3.0)])
    x = tasks.sample(4000, generator()).support.x[:, 0, 0]
    assert (torch.bincount(x.long()) / 4000 - 0.25).abs().max() < 0.03  # the standard deviation is 0.007
    assert tasks.sample(1, generator()).batch_size == 1


def test_the_generator_fixes_the_tasks():
    tasks = Mixture([Clusters(), Clusters(spread=0.1)])
    a, b, c = (tasks.sample(5, generator(seed)).query.x for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_scores_are_those_of_the_kinds():
    tasks = Mixture([Clusters(), Clusters(spread=0.1)])
    scores = tasks.score(build("prototypical", tasks), tasks.sample(4, generator()))
    assert set(scores) == {"accuracy", "nll"} and scores["accuracy"].shape == (4,)


def test_bad_kinds_are_named():
    with pytest.raises(ValueError, match="kinds: none given"):
        Mixture([])
    with pytest.raises(ValueError, match=r"kinds: Regression\(1\) of inputs \[1\] given beside Regression\(1\) of"):
        Mixture([LinearRegression(dim=2), Sinusoids()])
    x, y = torch.randn(20, 2), torch.arange(20) % 4
    with pytest.raises(ValueError, match=r"kinds: Classification\(3\) of inputs \[2\] given beside Classification\(4"):
        Mixture([FewShot(x, y, way=4, queries=1), FewShot(x, y, way=3, queries=1)])
    with pytest.raises(ValueError, match=r"kinds: tasks of \[\(3, 15\), \(5, 15\)\] support and query examples given"):
        Mixture([Constant(1.0), Constant(1.0, shots=5)]).episode(torch.tensor([0, 1]), generator())
