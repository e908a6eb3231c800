"""Random search: against training each network by itself, over a space that can be listed, and its budget counted."""

from collections import Counter

import pytest
import torch

from metabook.evaluation import evaluate
from metabook.likelihood import Classification, Regression
from metabook.metanetworks import random_search
from metabook.nn import CellNet
from metabook.optimization import MAML
from metabook.tasks import Clusters, FunctionMixture
from metabook.training import train

LINES = FunctionMixture(families=1)


class Counted(FunctionMixture):
    """Lines that count how many batches were drawn of them."""

    def __init__(self):
        super().__init__(families=1)
        self.batches = Counter()

    def sample(self, n, generator):
        self.batches[n] += 1
        return super().sample(n, generator)


def cell_of(*operations, x_shape=(1,), outputs=1, nodes=1):
    torch.manual_seed(0)
    return CellNet(x_shape, outputs, operations=operations, nodes=nodes, width=6)


def search(cell, tasks=LINES, validation=LINES, **options):
    def make(net):
        return MAML(net, tasks.likelihood, inner_lr=0.02, inner_steps=1, clip=10.0)

    budget = {"batch": 4, "lr": 0.01, "episodes": 20, "device": "cpu"}
    return random_search(cell, make, tasks, validation, **budget | options)


def test_each_network_is_trained_as_it_would_be_alone_and_the_best_comes_first():
    """A cell of one edge with as many architectures as operations: the space is listed, 20 steps of 80 for each."""
    operations = ("sine", "square", "identity", "relu")
    cell = cell_of(*operations)
    found = search(cell, architectures=4, steps=83)
    alone = {}
    for operation in operations:
        net = cell_of(operation)
        net.load_state_dict({**net.state_dict(), **dict(cell.named_parameters())})
        learner = MAML(net, Regression(), inner_lr=0.02, inner_steps=1, clip=10.0)
        train(learner, LINES, steps=20, batch=4, lr=0.01, seed=0, device="cpu", progress="none")
        alone[operation] = evaluate(learner, LINES, episodes=20, seed=1, device="cpu")["mse"].mean
    expected = sorted(operations, key=alone.get)
    assert [f.edges for f in found] == [(("01", o),) for o in expected]
    assert [f.score for f in found] == pytest.approx([alone[o] for o in expected], rel=1e-6)
    assert {f.cost for f in found} == {6 + 6}  # a layer of 1 x 6 and a head of 6 x 1
    assert all(torch.equal(a, b) for a, b in zip(cell.parameters(), cell_of(*operations).parameters(), strict=True))


def test_two_nodes_have_a_chain_of_one_or_two_edges():
    """Two operations: 2 networks that skip node 1, and 4 that do not, all different; a layer of 6 x 6 more costs 36."""
    found = search(cell_of("sine", "identity", nodes=2), architectures=6, steps=6)
    names = ("sine", "identity")
    short, long = {(("02", o),) for o in names}, {(("01", a), ("12", b)) for a in names for b in names}
    assert {f.edges for f in found} == short | long
    assert all(f.cost == (12 if f.edges in short else 48) for f in found)


def test_the_seed_fixes_what_is_drawn():
    cell = cell_of("sine", "identity", "square", nodes=2)
    draws = [[f.edges for f in search(cell, architectures=2, steps=2, seed=seed)] for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert any(draws[0] != other for other in draws[2:])


def test_the_budget_is_split_equally():
    """10 steps for 3 networks: 3 each, and 20 validation tasks each from the other source."""
    tasks, validation = Counted(), Counted()
    search(cell_of("sine", "identity", "square"), tasks, validation, architectures=3, steps=10)
    assert tasks.batches[4] == 9
    assert validation.batches == {20: 3}


def test_of_classes_the_highest_score_is_the_best():
    tasks = Clusters(way=2)
    assert isinstance(tasks.likelihood, Classification)
    cell = cell_of("identity", "none", x_shape=tasks.x_shape, outputs=2)
    found = search(cell, tasks, tasks, architectures=2, steps=60)
    assert [f.edges[0][1] for f in found] == ["identity", "none"]
    assert found[0].score > found[1].score + 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architectures": 3, "steps": 9}, "architectures: 3 given; the cell has 2 different networks"),
        ({"architectures": 2, "steps": 1}, "steps: 1 given for 2 architectures; at least one step for each"),
        ({"architectures": 0, "steps": 9}, "architectures: 0 given; at least 1"),
        ({"architectures": 2, "steps": 0}, "steps: 0 given; at least 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        search(cell_of("sine", "identity"), **options)
