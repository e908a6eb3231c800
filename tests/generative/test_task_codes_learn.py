"""Modulated MAML and CAVIA against exact optima, with MAML and the same networks without a code beside them."""

import pytest
import torch

from metabook.baselines import BayesFunctions
from metabook.evaluation import evaluate
from metabook.registry import build
from metabook.tasks import FunctionFamilies, Sinusoids
from metabook.training import train

FUNCTIONS, WAVES = FunctionFamilies(modes=2), Sinusoids(shots=10, queries=20)


def mse(learner, tasks):
    return evaluate(learner, tasks, episodes=1000, batch=500, device="cpu")["mse"]


def trained(name, tasks, steps, **options):
    learner = build(name, tasks, seed=0, **options)
    train(learner, tasks, steps=steps, batch=25, lr=3e-3, seed=0, device="cpu", progress="none")
    return learner


def test_a_code_of_the_support_set_beats_a_common_start_on_waves_and_lines():
    """The optimum is about 0.17, the noise of 0.09 included. No single start is near to waves and lines.

    Three seeds of 500 steps gave 0.57, 0.62 and 0.82 times the error of MAML; the bar for this one is 0.75.
    """
    optimum, ours = mse(BayesFunctions(modes=2), FUNCTIONS), trained("modulated-maml", FUNCTIONS, 500)
    after, maml = mse(ours, FUNCTIONS), mse(trained("maml", FUNCTIONS, 500), FUNCTIONS)
    assert after.mean < 0.75 * maml.mean
    worse = after.difference(optimum)
    assert worse.mean > worse.interval  # nothing beats the optimum
    with torch.no_grad():  # without its code the same network is far worse than MAML's: the code does the work
        ours.generator.weight.zero_()
        ours.generator.bias.zero_()
    assert mse(ours, FUNCTIONS).mean > 1.5 * after.mean


@pytest.fixture(scope="module")
def cavia():
    return trained("cavia", WAVES, 700, context=2)


def test_two_numbers_and_one_step_nearly_tell_a_wave(cavia):
    """The optimum is 0: ten points without noise. A context of zero gave 3.1, and one step 0.27, over two seeds."""
    after = mse(cavia, WAVES)
    blind = build("cavia", WAVES, context=2, inner_steps=0)
    blind.load_state_dict(cavia.state_dict())
    assert after.mean < 0.5
    assert mse(blind, WAVES).mean > 5 * after.mean


def test_the_two_numbers_are_those_in_which_a_wave_is_linear(cavia):
    """a sin(x - c) = a cos c sin x - a sin c cos x: most of the context's variance is linear in these two."""
    waves = WAVES.parameters(500, torch.Generator().manual_seed(1))
    with torch.no_grad():
        context = cavia.adapt(WAVES.episode(waves, torch.Generator().manual_seed(2)).support)
    known = torch.stack([waves.amplitude * waves.phase.cos(), waves.amplitude * waves.phase.sin(), torch.ones(500)], 1)
    left = context - known @ torch.linalg.lstsq(known, context).solution
    assert left.square().sum() < 0.3 * (context - context.mean(0)).square().sum()
