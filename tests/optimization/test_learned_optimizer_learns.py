"""The learned optimiser against hand-made ones at their best rates, on random quadratics."""

import pytest

from metabook.evaluation import evaluate
from metabook.optimization import tune
from metabook.registry import build
from metabook.tasks.quadratics import Quadratics
from metabook.training import train

TASKS, STEPS = Quadratics(), 20
OPTIMISEE = {"layers": (), "bias": False, "steps": STEPS}
RATES = [0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3]


@pytest.mark.slow
def test_it_ends_far_below_gradient_descent_at_its_best_rate():
    """Tuned on 500 other problems, over grids that reach past the optimum; 20 steps, 1000 test problems.

    120 meta-steps gave 0.45, 0.47 and 0.50 of the mean of the best SGD with three seeds; the bar is 0.75. Untrained,
    the learned optimiser is far above it: the bar measures what meta-training added.
    """
    tuned = tune(
        lambda lr: build("hand-made-optimizer", TASKS, rule="sgd", lr=lr, **OPTIMISEE),
        TASKS,
        {"lr": RATES},
        problems=500,
    )
    sgd = build("hand-made-optimizer", TASKS, rule="sgd", **OPTIMISEE, **tuned.options)
    learned = build("learned-optimizer", TASKS, learn_start=False, emphasis=1.0, **OPTIMISEE)

    def loss(learner):
        return evaluate(learner, TASKS, episodes=1000, batch=1000, device="cpu")["loss"]

    before = loss(learned)
    for k, lr in enumerate((2e-2, 4e-3)):
        train(learned, TASKS, steps=60, batch=16, lr=lr, seed=k, device="cpu", progress="none")
    rival, after = loss(sgd), loss(learned)
    assert before.mean > 2 * rival.mean
    assert after.mean < 0.75 * rival.mean
    gain = rival.difference(after)
    assert gain.mean > gain.interval
