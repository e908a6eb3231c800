"""What networks are made of, as scores, where it is known."""

import pytest
import torch

from metabook import build, chosen, make_tasks
from metabook.metanetworks import MetaNetworks

FUNCTIONS = make_tasks("function-mixture", shots=4, queries=3)
LETTERS = make_tasks("permuted-glyphs", queries=1)
PREDICTIONS = None  # not looked at


def batch(tasks):
    return tasks.sample(3, torch.Generator().manual_seed(0))


def score(name, learner, tasks):
    return chosen.SCORES[name](learner, batch(tasks), PREDICTIONS).tolist()


def test_a_fixed_choice_is_counted_for_every_task():
    learner = build("metanetworks", FUNCTIONS, operations="sine,square,relu")
    assert isinstance(learner, MetaNetworks)
    learner.chooser.fix(1)
    assert score("chooses square", learner, FUNCTIONS) == [1.0] * 3
    assert score("chooses relu", learner, FUNCTIONS) == [0.0] * 3


def test_units_in_equal_parts():
    learner = build("hypernetwork", FUNCTIONS, units="sine,square,relu,step")
    assert score("chooses step", learner, FUNCTIONS) == [0.25] * 3


def test_of_several_edges_those_that_are_used_count():
    """Two nodes, three edges; each node takes its first edge: 0-1 and 0-2 are used, 1-2 is not."""
    learner = build("metanetworks", FUNCTIONS, operations="sine,relu", nodes=2)
    learner.chooser.fix(0)
    with torch.no_grad():
        edges = learner.chooser.logits.bias[:6].view(3, 2)
        edges[1:] = torch.tensor([0.0, 1e3])  # edges 0-2 and 1-2 are ReLU
    assert score("chooses sine", learner, FUNCTIONS) == [0.5] * 3


def test_multiply_adds_by_hand():
    """28 x 28 pixels to 8 channels of 7 x 7, then a head of 5 rows: 784 * 392 by a matrix, or by two convolutions,
    8 * 9 * 784 and 8 * 8 * 9 * 196.

    What is mixed is carried out whole, what is not chosen is not.
    """
    head, convolution, dense = 5 * 392, 8 * 9 * 784 + 8 * 8 * 9 * 196, 784 * 392
    learner = build("metanetworks", LETTERS, operations="conv3,dense")
    learner.chooser.fix(0)
    assert score("multiply-adds", learner, LETTERS) == [convolution + head] * 3
    assert score("multiply-adds", learner.chooser.fix(1) and learner, LETTERS) == [dense + head] * 3
    both = build("hypernetwork", LETTERS, units="conv3,dense")
    assert score("multiply-adds", both, LETTERS) == [convolution + dense + head] * 3
    soft = build("metanetworks", LETTERS, operations="conv3,dense", choose="soft")
    assert score("multiply-adds", soft, LETTERS) == [convolution + dense + head] * 3


def test_units_that_are_mixed_share_their_layer():
    """20 weights before the units, whatever they are, and 20 after them."""
    for system, options in (("hypernetwork", {"units": "sine,relu,step"}), ("metanetworks", {"choose": "soft"})):
        assert score("multiply-adds", build(system, FUNCTIONS, **options), FUNCTIONS) == [40.0] * 3


def test_tasks_of_a_batch_may_differ():
    learner = build("metanetworks", LETTERS, operations="conv3,dense")
    state = learner.adapt(batch(LETTERS).support)
    belief = state.belief.operations[:, 0, 1]
    assert score("chooses dense", learner, LETTERS) == (belief > 0.5).float().tolist()


@pytest.mark.parametrize(
    ("system", "options", "name", "message"),
    [
        ("maml", {}, "multiply-adds", "learner: MAML given; its network is no cell, and has no choices"),
        ("maml", {"units": "sine"}, "chooses relu", "score: chooses relu given; the edges of the network have sine"),
    ],
)
def test_what_has_no_such_choice(system, options, name, message):
    with pytest.raises(ValueError, match=message):
        score(name, build(system, FUNCTIONS, **options), FUNCTIONS)
