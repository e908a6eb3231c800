"""Random quadratics: shapes, moments, and where the optimisee's start went."""

import math

import pytest
import torch

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.protocol import Tasks
from metabook.tasks.quadratics import Quadratics


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def test_shapes_and_device_and_that_the_query_is_the_problem_itself(device):
    tasks = Quadratics(dim=3)
    episode = tasks.sample(4, generator(device))
    assert isinstance(tasks, Tasks) and tasks.x_shape == (3,)
    assert episode.support.x.shape == (4, 3, 3) and episode.support.y.shape == (4, 3, 1)
    assert episode.support.x.device == generator(device).device and episode.support.x.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(*episode, strict=True))
    tasks.likelihood.check("support", episode.support)


def test_moments(device):
    """W has variance 1. Given W, y - W s has mean 0 and covariance I + W W^T, so its whitened form variance 1; the
    start is worth E f(0) = E |y|^2 + E |W s|^2 = D + D^2. Each within 5 standard errors (f(0)'s by the sample's)."""
    d = 4
    x, y = Quadratics(dim=d).sample(20_000, generator(device)).support
    x, y = x.double(), y.double()
    assert abs(x.var().item() - 1) < 5 * math.sqrt(2 / x.numel()) and abs(x.mean().item()) < 5 / math.sqrt(x.numel())
    whitened = torch.linalg.solve_triangular(
        torch.linalg.cholesky(torch.eye(d, device=x.device, dtype=x.dtype) + x @ x.mT), y, upper=False
    )
    assert abs(whitened.var().item() - 1) < 5 * math.sqrt(2 / whitened.numel())
    f = y.square().sum((1, 2))
    assert abs(f.mean().item() - (d + d**2)) < 5 * f.std().item() / math.sqrt(len(f))


class Constant(MetaLearner):
    """A linear function with given weights, whatever the problem."""

    def __init__(self, weights):
        super().__init__(Regression())
        self.weights = weights

    def adapt(self, support):
        return self.weights

    def predict(self, state, query_x):
        return self.likelihood.distribution(query_x @ state)

    def meta_loss(self, batch):
        raise NotImplementedError


def test_the_score_is_the_papers_f_and_its_logarithm():
    """W = [[1, 2], [3, 4]], y = (1, 0), theta = (1, 1): W theta - y = (2, 7), f = 4 + 49 = 53."""
    w = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    problem = Examples(w, torch.tensor([[[1.0], [0.0]]]))
    scores = Quadratics(dim=2).score(Constant(torch.ones(1, 2, 1)), Episode(problem, problem))
    assert scores["loss"].tolist() == [53.0]
    assert scores["log_loss"].item() == pytest.approx(math.log(53), rel=1e-6)


def test_a_problem_solved_exactly_has_a_finite_logarithm():
    problem = Examples(torch.eye(2).unsqueeze(0), torch.ones(1, 2, 1))
    scores = Quadratics(dim=2).score(Constant(torch.ones(1, 2, 1)), Episode(problem, problem))
    assert scores["loss"].tolist() == [0.0] and torch.isfinite(scores["log_loss"]).all()


def test_same_seed_same_tasks(device):
    a, b, c = (Quadratics().sample(3, generator(device, s)) for s in (1, 1, 2))
    assert torch.equal(a.query.y, b.query.y) and not torch.equal(a.query.y, c.query.y)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.5, TypeError)])
def test_bad_arguments_are_named(value, error):
    with pytest.raises(error, match=r"^dim: .*given"):
        Quadratics(dim=value)
