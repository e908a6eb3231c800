"""The systems of the optimization chapter that learn gates or rates along the inner steps."""

from __future__ import annotations

from metabook.likelihood import Likelihood
from metabook.optimization import LSTMMetaLearner, MAMLPlusPlus, step_importance
from metabook.systems.entry import Shape, System, network


def _rate(x_shape: Shape, given: float | None) -> float:
    """0.1 for images, the rate of MAML++ on Omniglot in its authors' code; 0.01 for vectors."""
    if given is not None:
        return given
    return 0.1 if len(x_shape) == 3 else 0.01


def _lstm_meta_learner(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_steps: int = 5,
    hidden: int = 20,
    keep: float = 0.99,
    inner_lr: float | None = None,
    batch: int | None = None,
    width: int | None = None,
    norm: str = "batch",
) -> LSTMMetaLearner:
    net, rate = network(x_shape, likelihood.size, width=width, norm=norm), _rate(x_shape, inner_lr)
    return LSTMMetaLearner(
        net, likelihood, inner_steps=inner_steps, hidden=hidden, keep=keep, inner_lr=rate, batch=batch
    )


def _maml_plus_plus(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    inner_lr: float | None = None,
    inner_steps: int = 5,
    annealed: float = 0.0,
    learn_rates: bool = True,
    first_order: bool = False,
    width: int | None = None,
    norm: str = "batch",
) -> MAMLPlusPlus:
    return MAMLPlusPlus(
        network(x_shape, likelihood.size, width=width, norm=norm),
        likelihood,
        inner_lr=_rate(x_shape, inner_lr),
        inner_steps=inner_steps,
        step_weights=step_importance(inner_steps, annealed),
        learn_rates=learn_rates,
        first_order=first_order,
    )


SYSTEMS: dict[str, System] = {
    "lstm-meta-learner": System(
        _lstm_meta_learner,
        "optimization",
        "ravi2017optimization",
        "an LSTM whose cell is the weights of the task",
        steps=(300, 40),
    ),
    "maml-plus-plus": System(
        _maml_plus_plus,
        "optimization",
        "antoniou2019how",
        "MAML with every step scored, and a rate for each",
        steps=(5_000, 80),
    ),
}
