"""The posterior of functions of several families: against sums over a grid, in limits, and that nothing beats it."""

import math

import pytest
import torch

from metabook.baselines import BayesFunctions
from metabook.episode import Examples
from metabook.evaluation import evaluate
from metabook.tasks import FunctionFamilies

G = (math.sin, lambda z: z, lambda z: z * z, abs, math.tanh)
BOXES = (  # |a|, c and b, and the signs of a: those of the paper's code, written once more
    ((0.1, 5.0), (0.0, math.pi), None, (1,)),
    ((0.0, 3.0), None, (-3.0, 3.0), (1, -1)),
    ((0.02, 0.15), (-3.0, 3.0), (-3.0, 3.0), (1, -1)),
    ((0.0, 3.0), (-3.0, 3.0), (-3.0, 3.0), (1, -1)),
    ((0.0, 3.0), (-3.0, 3.0), (-3.0, 3.0), (1, -1)),
)


def midpoints(box, n):
    return [0.0] if box is None else [box[0] + (box[1] - box[0]) * (i + 0.5) / n for i in range(n)]


def by_sums(points, x, noise, modes, n, n_b):
    """Family probabilities and the posterior mean at x, by midpoint sums over a, c and b, in plain Python.

    The nodes of a and c are those of the package, for n even: of a family of both signs, n / 2 each.
    """
    total, mean = [0.0] * modes, 0.0
    for m, (size, centre, offset, signs) in enumerate(BOXES[:modes]):
        slopes = [s * v for s in signs for v in midpoints(size, n // len(signs))]
        grid = [(a, c, b) for a in slopes for c in midpoints(centre, n) for b in midpoints(offset, n_b)]
        for a, c, b in grid:
            misfit = sum((y - a * G[m](v - c) - b) ** 2 for v, y in points)
            weight = math.exp(-misfit / (2 * noise**2)) / len(grid)
            total[m] += weight
            mean += weight * (a * G[m](x - c) + b)
    return [t / sum(total) for t in total], mean / sum(total)


@pytest.mark.parametrize("points", [[(0.5, 1.0)], [(-2.0, 1.5), (1.0, -0.5), (3.0, 0.4)], [(0.0, 2.9), (1.0, 3.3)]])
def test_against_sums_over_a_grid(points):
    """With the same nodes of a and c the rest is the rule for b, 400 midpoints there and exact here."""
    support = Examples(*torch.tensor([points], dtype=torch.float64).unsqueeze(-1).unbind(2))
    learner = BayesFunctions(modes=5, noise=0.6, nodes=4)
    state = learner.adapt(support)
    family, mean = by_sums(points, 1.7, 0.6, 5, 4, 400)
    assert state.family[0].tolist() == pytest.approx(family, abs=2e-5)
    query = torch.full((1, 1, 1), 1.7, dtype=torch.float64)
    assert learner.predict(state, query).mean.item() == pytest.approx(mean, abs=2e-4)


def test_many_examples_tell_family_and_function():
    """60 examples with noise 0.05: the family is nearly sure, and the mean is the function."""
    tasks = FunctionFamilies(modes=5, shots=60, noise=0.05)
    functions = tasks.parameters(40, torch.Generator().manual_seed(0))
    support, query = tasks.episode(functions, torch.Generator().manual_seed(1))
    learner = BayesFunctions(modes=5, noise=0.05, nodes=200)
    state = learner.adapt(support)
    sure = state.family.gather(1, functions.family.unsqueeze(1))
    assert (sure > 0.99).float().mean() > 0.8  # a flat parabola may pass for a line
    error = (learner.predict(state, query.x).mean - tasks.curve(functions, query.x)).square().mean((1, 2))
    assert error.median() < 0.05**2


class Shrunk(BayesFunctions):
    """A rival: the posterior mean, a little nearer to 0 or a little further away."""

    def __init__(self, factor, **settings):
        super().__init__(**settings)
        self.factor = factor

    def predict(self, state, query_x):
        return self.likelihood.distribution(self.factor * super().predict(state, query_x).mean)


def test_nothing_beats_it():
    """Rivals that shrink, stretch, believe in more or less noise, or in fewer families: worse by more than chance."""
    tasks = FunctionFamilies(modes=3)
    mse = [
        evaluate(learner, tasks, episodes=600, batch=100, device="cpu")["mse"]
        for learner in (
            BayesFunctions(modes=3),
            Shrunk(0.9, modes=3),
            Shrunk(1.1, modes=3),
            BayesFunctions(modes=3, noise=1.0),
            BayesFunctions(modes=2),
        )
    ]
    assert mse[0].mean > 0.09  # the noise of the queries
    for rival in mse[1:]:
        worse = rival.difference(mse[0])
        assert worse.mean > worse.interval


def test_more_nodes_change_little():
    tasks, scores = FunctionFamilies(modes=5), []
    for nodes in (48, 96):
        scores.append(evaluate(BayesFunctions(modes=5, nodes=nodes), tasks, episodes=100, device="cpu")["mse"].mean)
    assert scores[0] == pytest.approx(scores[1], rel=0.02)


@pytest.mark.parametrize(("options", "message"), [({"modes": 6}, "modes: 6 given; 1 to 5"), ({"noise": 0}, "noise: 0")])
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        BayesFunctions(**options)
