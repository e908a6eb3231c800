"""Random search: what any search of architectures has to beat at the same cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from metabook.checks import check_count
from metabook.evaluation import evaluate
from metabook.learner import MetaLearner
from metabook.nn import CellNet
from metabook.nn.architecture import Architecture
from metabook.tasks.protocol import Tasks
from metabook.training import train


class Found(NamedTuple):
    """One architecture that was tried."""

    edges: tuple[tuple[str, str], ...]  #: from the input on, each edge with its operation, such as ("01", "sine")
    score: float  #: the first of the tasks' own, mean over the validation tasks
    cost: int  #: multiply-adds of a prediction
    learner: MetaLearner  #: as it is after its share of the steps


def random_search(
    cell: CellNet,
    make: Callable[[CellNet], MetaLearner],
    tasks: Tasks,
    validation: Tasks,
    *,
    architectures: int,
    steps: int,
    batch: int = 25,
    lr: float = 1e-3,
    optimizer: str = "adam",
    schedule: str | None = None,
    episodes: int = 200,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> list[Found]:
    """Draw discrete networks of a cell, train each for an equal share of the steps, and return them, the best first.

    Li and Talwalkar (2019), arXiv:1902.07638, without their early stopping. All networks are different, and all begin
    with the weights of ``cell`` that they have; all see the same tasks.

    make: a learner of a discrete network, such as ``lambda net: MAML(net, Regression())``. architectures: how many.
    steps: of training, of all networks together; what does not divide is left. episodes: of ``validation`` for each.
    batch, lr, optimizer, schedule, seed, device: as in ``metabook.train``.

    Raises TypeError or ValueError for counts below 1, more architectures than there are networks or steps, and what
    ``train`` and ``evaluate`` raise.
    """
    each = check_count("steps", steps) // check_count("architectures", architectures)
    if each == 0:
        raise ValueError(
            f"steps: {steps} given for {architectures} architectures; at least one step for each is needed"
        )
    found = []
    for choice in _draw(cell, architectures, seed):
        net = cell.read_off(choice)
        learner = make(net)
        budget = {"optimizer": optimizer, "schedule": schedule, "seed": seed, "device": device, "progress": "none"}
        train(learner, tasks, steps=each, batch=batch, lr=lr, **budget)  # type: ignore[arg-type]
        scores = evaluate(learner, validation, episodes=episodes, seed=seed + 1, device=device)
        cost = int(cell.cost(choice).item())
        found.append(Found(_edges(net), next(iter(scores.values())).mean, cost, learner))
    return sorted(found, key=lambda f: f.score, reverse=tasks.likelihood.higher_is_better)


def _draw(cell: CellNet, n: int, seed: int) -> list[Architecture]:
    """n choices that are different networks, each choice uniform over what a cell can choose."""
    # a chain through some of the nodes before the last, with an operation on every edge of it
    networks = len(cell.choices) * (1 + len(cell.choices)) ** (cell.nodes - 1)
    if n > networks:
        raise ValueError(f"architectures: {n} given; the cell has {networks} different networks")
    device = cell.inputs.device
    even = Architecture(
        torch.full_like(cell.operations, 1 / len(cell.choices))[None], cell.inputs.new_ones(1, len(cell.edges))
    )
    drawn: dict[tuple[tuple[str, str], ...], Architecture] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        while len(drawn) < n:
            choice = even.draw(1)
            drawn.setdefault(_edges(cell.read_off(choice)), choice)
    return list(drawn.values())


def _edges(net: CellNet) -> tuple[tuple[str, str], ...]:
    return tuple((name, next(iter(edge.operations))) for name, edge in net.edges.items())  # type: ignore[arg-type]
