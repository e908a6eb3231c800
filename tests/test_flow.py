"""What is written down of a run is what happened in it."""

import pytest
import torch

from metabook.episode import Episode, Examples
from metabook.flow import record_flow
from metabook.likelihood import Classification
from metabook.metanetworks import MetaNet
from metabook.nn import AugmentedNet, Pixels

PARTS = ("representation", "base", "to_task_weights", "to_fast_weights", "read")


@pytest.fixture
def run():
    """Two support and three query examples of four features; keys of five, one layer to two classes."""
    learner = MetaNet(AugmentedNet(Pixels(), (4, 5)), AugmentedNet(Pixels(), (4, 2)), Classification(2))
    support = Examples(torch.randn(1, 2, 4), torch.tensor([[0, 1]]))
    return learner, Episode(support, Examples(torch.randn(1, 3, 4), torch.tensor([[0, 1, 1]])))


def test_every_call_in_order_with_its_shapes_and_where_its_inputs_came_from(run):
    gradients = AugmentedNet.gradients
    calls = record_flow(*run, PARTS, [(AugmentedNet, "gradients")])
    assert [call[:1] + call[2:] for call in calls] == [
        ("representation.gradients", (("support x", (1, 2, 4)),), ((1, 2, 20),)),
        ("to_task_weights", (("representation.gradients", (1, 2, 20)),), ((1, 20),)),
        ("base.gradients", (("support x", (1, 2, 4)),), ((1, 2, 8),)),
        ("to_fast_weights", (("base.gradients", (1, 2, 8)),), ((1, 2, 8),)),
        ("representation", (("support x", (1, 2, 4)), ("to_task_weights", (1, 20))), ((1, 2, 5),)),
        ("representation", (("query x", (1, 3, 4)), ("to_task_weights", (1, 20))), ((1, 3, 5),)),
        (
            "read",
            (("representation 2", (1, 3, 5)), ("representation", (1, 2, 5)), ("to_fast_weights", (1, 2, 8))),
            ((1, 3, 8),),
        ),
        ("base", (("query x", (1, 3, 4)), ("read", (1, 3, 8))), ((1, 3, 2),)),
    ]
    assert str(calls[-1]) == "base: [1, 3, 4] from query x, [1, 3, 8] from read -> [1, 3, 2]"
    assert AugmentedNet.gradients is gradients  # nothing is left behind


def test_an_unknown_part_is_named(run):
    with pytest.raises(ValueError, match="parts: 'reed' given; the learner has representation, "):
        record_flow(*run, ["reed"])
