"""What is written down of a run is what happened in it."""

import pytest
import torch
from torch import nn

from metabook.episode import Episode, Examples
from metabook.flow import record_flow
from metabook.learner import MetaLearner
from metabook.likelihood import Classification
from metabook.mapping import run
from metabook.metanetworks import MetaNet
from metabook.nn import AugmentedNet, Pixels

PARTS = ("representation", "base", "to_task_weights", "to_fast_weights", "read")


@pytest.fixture
def meta_net():
    """Two support and three query examples of four features; keys of five, one layer to two classes."""
    learner = MetaNet(AugmentedNet(Pixels(), (4, 5)), AugmentedNet(Pixels(), (4, 2)), Classification(2))
    support = Examples(torch.randn(1, 2, 4), torch.tensor([[0, 1]]))
    return learner, Episode(support, Examples(torch.randn(1, 3, 4), torch.tensor([[0, 1, 1]])))


def test_every_call_in_order_with_its_shapes_and_where_its_inputs_came_from(meta_net):
    gradients = AugmentedNet.gradients
    calls = record_flow(*meta_net, PARTS, [(AugmentedNet, "gradients")])
    assert [str(call) for call in calls] == [
        "representation.gradients: [1, 2, 4] from support x, [1, 2] from support y -> [1, 2, 20]",
        "to_task_weights: [1, 2, 20] from representation.gradients -> [1, 20]",
        "base.gradients: [1, 2, 4] from support x, [1, 2] from support y -> [1, 2, 8]",
        "to_fast_weights: [1, 2, 8] from base.gradients -> [1, 2, 8]",
        "representation: [1, 2, 4] from support x, [1, 20] from to_task_weights -> [1, 2, 5]",
        "representation: [1, 3, 4] from query x, [1, 20] from to_task_weights -> [1, 3, 5]",
        "read: [1, 3, 5] from representation 2, [1, 2, 5] from representation, [1, 2, 8] from to_fast_weights"
        " -> [1, 3, 8]",
        "base: [1, 3, 4] from query x, [1, 3, 8] from read -> [1, 3, 2]",
    ]
    assert [call.phase for call in calls] == ["adapt"] * 5 + ["predict"] * 3
    assert calls[0].inputs[1] == (("support y",), (1, 2), True)
    assert calls[5].name == "representation 2" and calls[5].number == 1
    assert AugmentedNet.gradients is gradients  # nothing is left behind


class Scaled(MetaLearner):
    """phi_0 = theta scaled by a network's output, one gradient step on the support set, then the queries."""

    def __init__(self):
        super().__init__(Classification(2))
        self.net, self.scale = nn.Linear(4, 2, bias=False), nn.Linear(4, 1)
        self.sum = nn.Identity()

    def adapt(self, support):
        factor = self.scale(support.x.mean(1))
        phi = self.net.weight * factor.clone()[..., None]
        phi = phi.detach().requires_grad_()
        with torch.enable_grad():
            logits = run(self.net, support.x, {"weight": phi}, how="loop")
            loss = nn.functional.cross_entropy(logits.mT, support.y)
        step = torch.autograd.grad(loss, phi)[0]
        return self.sum(phi - step)

    def predict(self, state, query_x):
        return self.likelihood.distribution(run(self.net, query_x, {"weight": state}, how="loop"))

    def meta_loss(self, batch):
        raise NotImplementedError


def test_what_other_steps_make_has_all_their_sources_and_swapped_weights_are_inputs(meta_net):
    """The step depends on the support labels by the loss alone; theta itself is nobody's."""
    calls = record_flow(Scaled(), meta_net[1], ["scale", "net", "sum"])
    assert [str(call) for call in calls] == [
        "scale: [1, 4] made of support x -> [1, 1]",
        "net: [2, 4] from support x, [2, 4] made of scale -> [2, 2]",
        "sum: [1, 2, 4] made of scale and net and support y and support x -> [1, 2, 4]",
        "net: [3, 4] from query x, [2, 4] from sum -> [3, 2]",
    ]


class InPlace(Scaled):
    """A tensor of the encoder that others change in place, and one made of weights alone."""

    def adapt(self, support):
        code = self.scale(support.x[:, 0])
        self.sum(code)
        code.add_(support.y[:, :1])
        self.sum(code)
        return self.sum(self.net.weight * 2)

    def predict(self, state, query_x):
        return self.likelihood.distribution(query_x[..., :2])


def test_what_is_changed_in_place_has_the_sources_of_both(meta_net):
    calls = record_flow(InPlace(), meta_net[1], ["scale", "sum"])
    assert [str(call.inputs[0]) for call in calls] == [
        "[1, 4] from support x",
        "[1, 1] from scale",
        "[1, 1] made of sum and support y",
        "[2, 4] made of weights",
    ]


def test_support_and_query_in_one_block_of_memory_are_told_apart(meta_net):
    learner, _ = meta_net
    x, y = torch.randn(1, 5, 4), torch.tensor([[0, 1, 0, 1, 1]])
    calls = record_flow(learner, Episode(Examples(x[:, :2], y[:, :2]), Examples(x[:, 2:], y[:, 2:])), PARTS)
    assert [call.inputs[0].sources for call in calls if call.part == "representation"] == [("support x",), ("query x",)]


def test_an_unknown_part_is_named(meta_net):
    with pytest.raises(ValueError, match="parts: 'reed' given; the learner has representation, "):
        record_flow(*meta_net, ["reed"])
