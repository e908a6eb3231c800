"""Hypernetworks and MetaNetworks on lines and parabolas, against what any line can do, and against chance.

Without noise the optimum is 0: least squares with 1, x and x^2. A target is as often above 0 as below it at every x, so
among functions that are the same in every task 0 is the best.
"""

import math

import pytest
import torch

from metabook.registry import build
from metabook.tasks import FunctionMixture
from metabook.training import train

TASKS = FunctionMixture(families=2)
N = 1000


def trained(name, **options):
    learner = build(name, TASKS, seed=0, **options)
    rates = {"lr": 0.02, "optimizer": "muon", "schedule": "cosine"}
    train(learner, TASKS, steps=300, batch=32, seed=0, device="cpu", progress="none", **rates)
    return learner


@pytest.fixture(scope="module")
def functions():
    """N functions that training did not see."""
    return TASKS.parameters(N, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def episode(functions):
    """Their examples."""
    return TASKS.episode(functions, torch.Generator().manual_seed(2))


def mse(learner, episode):
    with torch.no_grad():
        return (learner(episode).mean - episode.query.y).square().mean().item()


def best(episode, degree):
    """The error of least squares on the support set with powers up to the degree."""
    (x, y), (x_query, y_query) = (tuple(t.double() for t in part) for part in episode)
    powers = torch.arange(degree + 1)
    weights = torch.linalg.lstsq(x**powers, y).solution
    return (x_query**powers @ weights - y_query).square().mean().item()


def test_lines_cannot_do_it_and_parabolas_can(episode):
    """What the bars stand on."""
    assert best(episode, 2) < 1e-6 < 0.1 < best(episode, 1) < best(episode, 0)


@pytest.mark.slow
def test_written_weights_beat_the_best_line_and_a_common_start_is_no_better_than_nothing(episode):
    """With the generator silenced all tasks have one function, and 0 is the best of those, up to sampling."""
    learner = trained("hypernetwork", units="square")
    assert mse(learner, episode) < best(episode, 1)
    learner.generator.silence()
    assert mse(learner, episode) > 0.9 * episode.query.y.square().mean()


@pytest.mark.slow
def test_metanetworks_choose_by_the_family_and_what_they_choose_beats_the_best_line(functions, episode):
    """A choice that did not depend on the family would be as frequent in both: to five standard errors it is not.

    Squares can be lines too, since (x + 1)^2 - (x - 1)^2 = 4 x, but a line is all that the identity can be; so lines
    take the identity more often than chance.
    """
    learner = trained("metanetworks", operations="identity,square")
    assert mse(learner, episode) < best(episode, 1)
    with torch.no_grad():
        square = learner.adapt(episode.support).choice.operations[:, 0, 1]
    parabola = functions.family == 1
    lines, parabolas, p = square[~parabola].mean(), square[parabola].mean(), square.mean().item()
    error = math.sqrt(p * (1 - p) * (1 / parabola.sum().item() + 1 / (~parabola).sum().item()))
    assert parabolas - lines > 5 * error > 0
    assert lines < 0.5 - 5 * math.sqrt(0.25 / (~parabola).sum().item())
