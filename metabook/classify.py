"""From labelled examples to the probabilities of new ones, for any classifier of the book."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.distributions import Categorical

from metabook.episode import Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import in_chunks
from metabook.one_by_one import OneByOne

UNFIT = (ValueError, RuntimeError, IndexError)  #: what networks raise for inputs or classes that do not fit
TOGETHER = 256  #: queries that go through a network at a time


class Adapted(NamedTuple):
    """A learner that has seen the labelled examples of one task."""

    learner: MetaLearner
    state: Any  #: what its ``adapt`` returned, B = 1
    shots: Tensor  #: [N], how many examples each class had


def adapt(learner: MetaLearner, x: Tensor, y: Tensor) -> Adapted:
    """Adapt to S labelled examples. x: [S, *X], bytes are divided by 255; y: int64 [S], all classes 0..N-1.

    A learner with batch statistics will judge each query alone, beside the support examples (``OneByOne``).
    """
    shots = torch.bincount(y, minlength=learner.likelihood.size)
    each = OneByOne(learner).eval() if learner.transductive else learner
    with torch.no_grad(), _fixed_draws(learner):
        state = each.adapt(Examples(_inputs(learner, x), y.to(_like(learner).device).unsqueeze(0)))
    return Adapted(each, state, shots)


def adapt_copy(learner: MetaLearner, x: Tensor, y: Tensor) -> Adapted:
    """``adapt`` of a copy of the learner, in evaluation mode and for as many classes as ``y`` has.

    Raises ValueError if the learner does not classify, if its number of classes is fixed to another, and if it cannot
    take examples of this shape.
    """
    if not isinstance(learner.likelihood, Classification):
        raise ValueError(f"learner: {learner.likelihood!r} given; a classifier is needed")
    way, trained = int(y.max()) + 1, learner.likelihood.size
    copied = copy.deepcopy(learner).eval()
    if way != trained:
        for part in copied.modules():
            if isinstance(part, MetaLearner):  # a learner may hold another
                part.likelihood = Classification(way)
    try:
        adapted = adapt(copied, x, y)
        log_probabilities(adapted, x[:1])
    except UNFIT as error:
        name = type(learner).__name__
        if way != trained and _can_learn(learner, x, trained):
            raise ValueError(
                f"way: {way} classes given; this {name} was trained on {trained} and its last layer is fixed: use "
                f"{trained}, or a learner without a fixed last layer such as a prototypical network"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"X: {name} cannot take examples of shape {list(x.shape[1:])} ({reason})") from error
    return adapted


def _can_learn(learner: MetaLearner, x: Tensor, way: int) -> bool:
    """True if the learner takes such examples when it is told that they are of ``way`` classes."""
    labels = torch.arange(way)
    try:
        log_probabilities(adapt(copy.deepcopy(learner).eval(), x[labels % len(x)], labels), x[:1])
    except UNFIT:
        return False
    return True


def log_probabilities(adapted: Adapted, query: Tensor) -> Tensor:
    """Log-probability of every class for every query, [Q, N] on the CPU. query: [Q, *X], bytes are divided by 255.

    What is said of one query does not depend on the others. A learner that draws latent samples draws the same ones
    every time.
    """
    learner, state, _ = adapted

    def judge(part: slice) -> Tensor:
        with torch.no_grad(), _fixed_draws(learner):
            logits = cast(Categorical, learner.predict(state, _inputs(learner, query[part]))).logits
        if logits.dim() == 4:  # L latent samples: the mean of their probabilities
            logits = logits.logsumexp(0) - math.log(logits.shape[0])
        return logits[0].cpu()

    return torch.cat(in_chunks(judge, len(query), TOGETHER))


def classify(learner: MetaLearner, images: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """The probability of each class for each query image, [Q, N] on the CPU, learned from S labelled images.

    images: [S, *X]; labels: int64 [S]; query: [Q, *X]. Bytes are divided by 255. Each query is judged by itself.
    """
    return log_probabilities(adapt(learner, images, labels), query).exp()


def _like(learner: MetaLearner, default: Tensor | None = None) -> Tensor:
    """A tensor of the device and type of the learner's weights; ``default`` if it has none."""
    numbers = (value for value in learner.state_dict().values() if value.is_floating_point())
    return next(numbers, torch.zeros(()) if default is None else default)


def _inputs(learner: MetaLearner, x: Tensor) -> Tensor:
    """[1, n, *X] as the learner's weights are; without weights, of the inputs' own precision."""
    if x.dtype == torch.uint8:
        return (x.to(_like(learner)) / 255).unsqueeze(0)
    return x.to(_like(learner, x)).unsqueeze(0)


@contextmanager
def _fixed_draws(learner: MetaLearner) -> Iterator[None]:
    """The global generator starts from 0 inside, and is as before after it."""
    device = _like(learner).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield
