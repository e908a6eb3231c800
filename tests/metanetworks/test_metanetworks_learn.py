"""Hypernetworks and MetaNetworks on lines and parabolas, with MAML beside them; without noise the optimum is 0."""

import pytest
import torch

from metabook.evaluation import evaluate
from metabook.registry import build
from metabook.tasks import FunctionMixture
from metabook.training import train

TASKS = FunctionMixture(families=2)


def trained(name, phases=((600, {}),), **options):
    """A learner after phases of (steps, options that change)."""
    learner = build(name, TASKS, seed=0, **options)
    for i, (steps, changed) in enumerate(phases):
        weights, learner = learner.state_dict(), build(name, TASKS, seed=0, **options, **changed)
        learner.load_state_dict(weights)
        train(learner, TASKS, steps=steps, batch=32, lr=3e-3, seed=i, device="cpu", progress="none")
    return learner


def mse(learner):
    return evaluate(learner, TASKS, episodes=1000, batch=500, device="cpu")["mse"].mean


@pytest.fixture(scope="module")
def maml():
    """MAML with three steps gave 0.74; predicting 0 gives about 2.5."""
    return mse(trained("maml", units="square", inner_steps=3, clip=10.0))


@pytest.mark.slow
def test_written_weights_without_a_step_beat_a_common_start_with_three(maml):
    """0.35 in the run that set the bar; with the generator silenced the start alone is worse than MAML's."""
    learner = trained("hypernetwork", units="square")
    assert mse(learner) < 0.65 * maml
    learner.generator.silence()
    assert mse(learner) > maml


@pytest.mark.slow
def test_metanetworks_choose_by_the_family_and_lose_nothing_by_it(maml):
    """0.35, with squares for 56 % of parabolas and 4 % of lines. Both families have exact networks of squares, since
    (x + 1)^2 - (x - 1)^2 = 4 x; a line is all that the identity can be."""
    learner = trained("metanetworks", ((150, {"exploration": 1.0}), (450, {})), operations="identity,square")
    assert mse(learner) < 0.65 * maml
    generator = torch.Generator().manual_seed(1)
    functions = TASKS.parameters(1000, generator)
    with torch.no_grad():
        square = learner.adapt(TASKS.episode(functions, generator).support).choice.operations[:, 0, 1]
    lines, parabolas = (square[functions.family == i].mean() for i in range(2))
    assert lines < 0.2 and parabolas > lines + 0.3
