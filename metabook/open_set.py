"""None of these: how close a query is to the classes a learner knows, and what known queries have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metabook.calibration import LEVELS, Calibration, fit_temperature
from metabook.checks import check_count
from metabook.classify import Adapted, adapt, log_probabilities
from metabook.device import make_generator
from metabook.learner import MetaLearner
from metabook.mapping import in_chunks, run
from metabook.metric import ProtoNet
from metabook.tasks.protocol import Tasks


def closeness(adapted: Adapted, query: Tensor) -> Tensor:
    """How well each query fits the nearest known class, [Q] on the CPU; higher is closer. query: [Q, *X].

    For prototypical networks by squared distance, minus the squared distance to a prototype, corrected for its number
    of examples. If the embeddings of class k have mean m and covariance C, and the prototype c is the mean of S_k of
    them, then a query z of the class has E|z - c|^2 = tr C (1 + 1/S_k). So the distance is divided by 1 + 1/S_k, and
    one threshold serves every number of shots. For every other learner: the log of the highest probability (Hendrycks
    and Gimpel 2017, arXiv:1610.02136), which says nothing of a query that is far from all classes but less far from
    one.
    """
    learner, state, shots = adapted
    if not isinstance(learner, ProtoNet) or learner.distance != "euclidean":
        return log_probabilities(adapted, query).max(1).values
    x = query.to(state) / 255 if query.dtype == torch.uint8 else query.to(state)
    with torch.no_grad():
        z = torch.cat(in_chunks(lambda part: run(learner.net, x[part].unsqueeze(0))[0], len(x), 256))
        distance = (z.unsqueeze(1) - state[0]).square().sum(2)  # [Q, N]
        # d_k = |z - c_k|^2 / (1 + 1/S_k)
        return -(distance / (1 + 1 / shots.to(distance))).min(1).values.cpu()


def calibrate(learner: MetaLearner, tasks: Sequence[Tasks], *, episodes: int = 200, seed: int = 2) -> Calibration:
    """The temperature and the thresholds of a learner, from ``episodes`` held-out tasks of each distribution.

    The learner must be able to do these tasks; take classes it was not trained on, and numbers of shots like those it
    will meet. They must all have the same number of classes.

    Raises ValueError or TypeError for bad counts, none or different tasks, and what the learner raises.
    """
    check_count("episodes", episodes)
    if len({t.likelihood.size for t in tasks}) != 1:
        raise ValueError(f"tasks: {[t.likelihood for t in tasks]} given; needed are some with one number of classes")
    generator = make_generator(torch.device("cpu"), seed)
    logs, labels, close = [], [], []
    for distribution in tasks:
        for _ in range(episodes):
            support, query = distribution.sample(1, generator)
            adapted = adapt(learner, support.x[0], support.y[0])
            logs.append(log_probabilities(adapted, query.x[0]))
            close.append(closeness(adapted, query.x[0]))
            labels.append(query.y[0])
    shares = torch.tensor(LEVELS, dtype=torch.float64)
    thresholds = torch.cat(close).double().quantile(shares).tolist()
    return Calibration(fit_temperature(torch.cat(logs), torch.cat(labels)), tuple(thresholds))
