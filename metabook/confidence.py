"""Is a learner as sure as it may be? Calibration on many tasks, before and after one number fitted on others.

Guo, Pleiss, Sun, Weinberger (2017), arXiv:1706.04599 (classes); ``metabook.coverage`` (intervals).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Categorical

from metabook.calibration import fit_temperature, temper
from metabook.coverage import Interval, fit_factor, normals
from metabook.episode import Episode
from metabook.evaluation import Score, Scores, visit
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.tasks.protocol import Tasks

BINS = 10
APART = 5_000  #: validation tasks are drawn with another seed than those that are scored, so much later


#: what is said of classifiers and of regressors; "tempered" and "stretched": after the fitted number
CLASSES = ("accuracy", "nll", "calibration error", "temperature", "nll, tempered", "calibration error, tempered")
NUMBERS = ("mse", "nll", "coverage", "width", "factor", "coverage, stretched", "width, stretched")
NAMES = frozenset(CLASSES + NUMBERS)


class Answers(NamedTuple):
    """What a classifier said of the queries of n tasks, and what was right."""

    log_probs: Tensor  #: [n, Q, N], float64
    y: Tensor  #: [n, Q], int64

    def flat(self) -> tuple[Tensor, Tensor]:
        """The same without tasks, [n Q, N] and [n Q]: what ``metabook.calibration`` takes."""
        return self.log_probs.flatten(0, 1), self.y.flatten()


def answers(
    learner: MetaLearner,
    tasks: Tasks,
    *,
    episodes: int = 1000,
    batch: int = 100,
    seed: int = 1,
    device: torch.device | str | None = None,
) -> Answers:
    """A classifier's log-probabilities on the tasks that ``evaluate`` draws, and the classes of their queries.

    Raises as ``metabook.evaluation.visit`` does, TypeError for predictions that are not of classes.
    """
    seen = visit(learner, tasks, _classes, episodes=episodes, batch=batch, seed=seed, device=device)
    return Answers(*(torch.cat(part) for part in zip(*seen, strict=True)))


def confidence(
    learner: MetaLearner,
    tasks: Tasks,
    validation: Tasks,
    *,
    episodes: int = 1000,
    batch: int = 100,
    seed: int = 1,
    device: torch.device | str | None = None,
) -> Scores:
    """How good and how honest a learner's predictions are on ``episodes`` new tasks.

    Classifiers: accuracy, nll (nats), calibration error; ``temperature``, fitted on as many tasks of ``validation``,
    and nll and calibration error of probabilities at that temperature. Regressors: mse, nll of single targets (nats),
    coverage and width of 90 % intervals; ``factor``, the least by which intervals must be stretched to cover 90 % on
    ``validation``, and coverage and width after that. The fitted number has no interval.

    Raises as ``metabook.evaluation.visit`` does.
    """
    setting: dict[str, Any] = {"episodes": episodes, "batch": batch, "device": device}
    if isinstance(learner.likelihood, Classification):
        temperature = fit_temperature(*answers(learner, validation, seed=seed + APART, **setting).flat())
        said = answers(learner, tasks, seed=seed, **setting)
        return _classifier(said, temperature)
    fitted = visit(learner, validation, _intervals, seed=seed + APART, **setting)
    low, high, y = (torch.cat(part) for part in zip(*fitted, strict=True))
    factor = fit_factor(Interval(low, high), y)

    def look(learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        predictions, y = learner(batch), batch.query.y
        single = normals(predictions)
        inside = single.interval()
        after = {f"{name}, stretched": values for name, values in inside.stretch(factor).scores(y).items()}
        return {**learner.likelihood.scores(predictions, y), "nll": single.nll(y), **inside.scores(y), **after}

    parts = visit(learner, tasks, look, seed=seed, **setting)
    scores = {name: Score(torch.cat([part[name] for part in parts]).cpu()) for name in parts[0]}
    return Scores({**scores, "factor": Score(torch.tensor([factor]))})


def calibration_error(log_probs: Tensor, y: Tensor, *, bins: int = BINS) -> Score:
    """The expected calibration error of n tasks' predictions, with an interval over tasks.

    It is no mean over tasks, but a sum over bins of |mean gap|. The values here are its first-order parts: task i has
    v_i = sum_m s_m g_im with g_im the sum of (right - confidence) over its predictions in bin m, divided by Q, and s_m
    the sign of the mean of g_im over tasks. Their mean is the error of ``reliability`` exactly, and their spread gives
    its interval by the delta method, which is too narrow where a gap may have either sign.

    log_probs: [n, Q, N]; y: int64 [n, Q].
    """
    sure, said = log_probs.double().exp().max(-1)
    gap = (said == y).double() - sure
    place = ((sure * bins).ceil().long() - 1).clamp(0, bins - 1)
    # ECE = sum_m |1/n sum_i g_im|,  g_im = 1/Q sum of (right - confidence) over task i's predictions in bin m
    g = torch.zeros(len(y), bins, dtype=torch.float64).scatter_add(1, place, gap) / y.shape[1]
    return Score(g @ g.mean(0).sign())


def _classifier(said: Answers, temperature: float) -> Scores:
    log_probs, y = said
    colder = temper(said.flat()[0], temperature).view_as(log_probs)
    nll, after = (-values.gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(1) for values in (log_probs, colder))
    return Scores(
        {
            "accuracy": Score((log_probs.argmax(-1) == y).double().mean(1)),
            "nll": Score(nll),
            "calibration error": calibration_error(log_probs, y),
            "temperature": Score(torch.tensor([temperature])),
            "nll, tempered": Score(after),
            "calibration error, tempered": calibration_error(colder, y),
        }
    )


def _classes(learner: MetaLearner, batch: Episode) -> tuple[Tensor, Tensor]:
    predictions = learner(batch)
    if not isinstance(predictions, Categorical):
        raise TypeError(f"learner: predictions of type {type(predictions).__name__} given; Categorical is allowed")
    logits = predictions.logits.double().log_softmax(-1)
    logits = logits.logsumexp(0) - math.log(len(logits)) if logits.dim() == 4 else logits  # [L, B, Q, N]
    return logits.cpu(), batch.query.y.cpu()


def _intervals(learner: MetaLearner, batch: Episode) -> tuple[Tensor, Tensor, Tensor]:
    low, high = normals(learner(batch)).interval()
    return low.cpu(), high.cpu(), batch.query.y.double().cpu()
