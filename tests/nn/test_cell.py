"""Cells: by hand, one-hot choices against the network read off, and cost against counting."""

import pytest
import torch
import torch.nn.functional as F

from metabook.mapping import run
from metabook.nn import CellNet, FirstLook, NetworkGenerator
from metabook.nn.architecture import Architecture, by_node
from metabook.nn.operations import IMAGE, UNITS, image_operation

VECTOR, PICTURE = (3,), (2, 8, 8)


def random_choices(net, tasks, seed=0):
    torch.manual_seed(seed)
    belief = Architecture(
        torch.rand(tasks, *net.operations.shape, dtype=torch.float64).softmax(2),
        torch.cat([v.softmax(1) for v in by_node(torch.rand(tasks, len(net.edges), dtype=torch.float64))], 1),
    )
    return belief, belief.draw(1)


def build(shape, nodes, **options):
    torch.manual_seed(0)
    return CellNet(shape, 2, nodes=nodes, width=4, side=4, **options).double()


def of_task(choices, b):
    return Architecture(*(c[b : b + 1] for c in choices))


def test_one_edge_by_hand():
    """x = 1, weight 2, bias -1, so h = 1: sine and ReLU, a quarter and three quarters: 0.25 sin 1 + 0.75. Head 2, 3."""
    net = CellNet((1,), 1, operations=("sine", "relu"), width=1).double()
    with torch.no_grad():
        for p, v in zip(net.parameters(), (2.0, -1.0, 2.0, 3.0), strict=True):
            p.fill_(v)
    x = torch.ones(1, 1, 1, dtype=torch.float64)
    weights = {"operations": torch.tensor([[[0.25, 0.75]]], dtype=torch.float64)}
    expected = 2 * (0.25 * torch.sin(torch.tensor(1.0, dtype=torch.float64)) + 0.75) + 3
    assert run(net, x, weights).item() == pytest.approx(expected.item(), abs=1e-14)


def test_units_by_hand():
    """At 2 and -2."""
    x = torch.tensor([2.0, -2.0])
    expected = {"square": [4, 4], "relu": [2, 0], "identity": [2, -2], "step": [1, -1], "none": [0, 0]}
    assert {n: u(x).tolist() for n, u in UNITS.items() if n != "sine"} == expected
    assert UNITS["sine"](x).tolist() == torch.sin(x).tolist()


def test_convolutions_against_torch():
    """A stride of 4 is two layers of 2, one of 6 has layers of 2 and 3, one of 1 a single layer."""
    x = torch.randn(2, 3, 2, 12, 12, dtype=torch.float64)
    for side, strides in ((3, [2, 2]), (2, [2, 3]), (12, [1])):
        operation = image_operation("conv3", (2, 12, 12), (4, side, side)).double()
        assert operation.strides == strides
        h = x.flatten(0, 1)
        for conv, step in zip(operation.convs, strides, strict=True):
            h = F.conv2d(h, conv.weight, conv.bias, padding=1)
            flat = h.flatten(1)
            h = (h - flat.mean(1).view(-1, 1, 1, 1)) / (flat.var(1, correction=0) + 1e-5).sqrt().view(-1, 1, 1, 1)
            h = F.max_pool2d(h.clamp(min=0), step)
        torch.testing.assert_close(operation(x), h.unflatten(0, (2, 3)), rtol=0, atol=1e-12)
    # 72 numbers on 12 x 12 places, then 144 on 6 x 6
    assert image_operation("conv3", (2, 12, 12), (4, 3, 3)).cost == 72 * 144 + 144 * 36


def test_a_first_look_is_the_output_of_each_operation_and_shares_its_weights():
    net = build(PICTURE, 2, operations=("conv3", "dense", "none"))
    look = FirstLook(net)
    x = torch.randn(2, 3, *PICTURE, dtype=torch.float64)
    seen = look(x)
    for o, operation in enumerate(net.edges["01"].operations.values()):
        torch.testing.assert_close(seen[:, :, 64 * o : 64 * (o + 1)], operation(x).flatten(2), rtol=0, atol=0)
    assert seen.shape == (2, 3, 3 * 64)
    assert {id(p) for p in look.parameters()} == {id(p) for p in net.edges["01"].parameters()}


@pytest.mark.parametrize("shape", [VECTOR, PICTURE], ids=["vector", "image"])
def test_two_nodes_against_loops(shape):
    """Node 1 reads the input; node 2 reads both: a sum over edges of v times a sum over operations of a."""
    net = build(shape, 2)
    belief, _ = random_choices(net, 2)
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    out = run(net, x, belief._asdict())
    for b in range(2):
        nodes = [x[b : b + 1]]
        for j, into in ((1, ["01"]), (2, ["02", "12"])):
            total = 0
            for name in into:
                e, edge = list(net.edges).index(name), net.edges[name]
                h = edge.first(nodes[int(name[0])])
                for o, op in enumerate(edge.operations.values()):
                    total = total + belief.inputs[b, e] * belief.operations[b, e, o] * op(h)
            nodes.append(total)
            assert len(nodes) == j + 1
        torch.testing.assert_close(out[b : b + 1], net.head(nodes[2].flatten(2)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [VECTOR, PICTURE], ids=["vector", "image"])
@pytest.mark.parametrize("nodes", [1, 3])
def test_one_hot_choices_are_the_network_read_off(shape, nodes):
    """Each task's own chain of operations, alone, with its weights under their old names: the same outputs."""
    net = build(shape, nodes)
    _, choices = random_choices(net, 8, seed=nodes)
    x = torch.randn(8, 3, *shape, dtype=torch.float64)
    together = run(net, x, choices._asdict())
    lengths = set()
    for b in range(8):
        alone = net.read_off(choices, b)
        torch.testing.assert_close(run(alone, x[b : b + 1]), together[b : b + 1], rtol=0, atol=1e-12)
        assert set(dict(alone.named_parameters())) <= set(dict(net.named_parameters()))
        lengths.add(len(alone.edges))
        assert all(len(edge.operations) == 1 for edge in alone.edges.values())
    assert nodes == 1 or len(lengths) > 1  # some tasks skip nodes


def count(alone):
    """Multiply-adds of a chain by hand: walk back from the head until an edge does nothing."""
    total = alone.head.weight.numel()
    for edge in reversed(alone.edges.values()):
        ((name, operation),) = edge.operations.items()
        if name == "none":
            return total
        weights = [p for n, p in edge.named_parameters() if n.endswith("weight")]
        places = 64 if name in ("conv3", "conv5") and operation.strides == [2] else 16
        total += sum(w.numel() * (places if w.dim() == 4 else 1) for w in weights if w.dim() > 1)  # a norm costs none
    return total


@pytest.mark.parametrize("shape", [VECTOR, PICTURE], ids=["vector", "image"])
@pytest.mark.parametrize("nodes", [1, 3])
def test_the_cost_of_one_hot_choices_is_that_of_the_network_read_off(shape, nodes):
    net = build(shape, nodes)
    _, choices = random_choices(net, 20, seed=nodes)
    costs = net.cost(choices).tolist()
    assert net.cost_of_mixture(choices).tolist() == costs
    assert costs == [count(net.read_off(choices, b)) for b in range(20)]
    assert len(set(costs)) > 1


def test_costs_by_hand():
    """A linear layer 3 x 4 and a head 4 x 2: 20; without the edge 8. A 3 x 3 convolution of 2 channels to 4 on 8 x 8
    pixels: 72 * 64; a dense edge 128 * 64; the head reads 4 * 4 * 4 numbers."""
    net = build(VECTOR, 1)
    every = net.every_choice()
    assert dict(zip(net.choices, net.cost(every).tolist(), strict=True)) == {
        name: 8 if name == "none" else 20 for name in UNITS
    }
    net = build(PICTURE, 1)
    expected = {"conv3": 72 * 64, "conv5": 200 * 64, "pool": 0, "identity": 0, "dense": 128 * 64, "none": 0}
    assert dict(zip(net.choices, net.cost(net.every_choice()).tolist(), strict=True)) == {
        name: 128 + expected[name] for name in IMAGE
    }


def test_the_expected_cost_of_one_edge_is_the_mean_of_the_costs_and_has_a_gradient():
    net = build(PICTURE, 1)
    belief, _ = random_choices(net, 2)
    p = belief.operations.requires_grad_()
    costs = net.cost(net.every_choice())
    expected = net.cost(Architecture(p, belief.inputs))
    torch.testing.assert_close(expected, p[:, 0] @ costs, rtol=1e-12, atol=0)
    (grad,) = torch.autograd.grad(expected.sum(), p)
    torch.testing.assert_close(grad[0, 0] - grad[0, 0, -1], costs - costs[-1], rtol=1e-12, atol=1e-9)


def test_image_operations_keep_the_shape_asked_for():
    x = torch.randn(2, 3, *PICTURE)
    for name in IMAGE:
        assert image_operation(name, PICTURE, (5, 4, 4))(x).shape == (2, 3, 5, 4, 4)
    with pytest.raises(ValueError, match=r"out: \[3, 3\] pixels given; they must divide \[8, 8\]"):
        image_operation("conv3", PICTURE, (5, 3, 3))


def belief_by_hand():
    """Two nodes, three edges, two operations."""
    operations = torch.tensor([[[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]]], dtype=torch.float64)
    return Architecture(operations, torch.tensor([[1.0, 0.25, 0.75]], dtype=torch.float64))


def test_discrete_choices_and_their_probability_by_hand():
    """The probability of (first, first, second; edge 2 into node 2) is 0.5 * 0.75 * 0.9 * 0.75; the entropy a sum."""
    belief = belief_by_hand()
    hard = belief.discrete()
    assert hard.operations.argmax(2).tolist() == [[0, 0, 1]] and hard.inputs.tolist() == [[1, 0, 1]]
    assert belief.log_prob(hard).exp().item() == pytest.approx(0.5 * 0.75 * 0.9 * 0.75, abs=1e-12)

    def h(*p):
        return -sum(v * torch.tensor(v).double().log().item() for v in p)

    total = h(0.5, 0.5) + h(0.75, 0.25) + h(0.1, 0.9) + h(0.25, 0.75)
    assert belief.entropy().item() == pytest.approx(total, abs=1e-7)


def test_straight_through_has_the_values_of_the_choice_and_the_gradient_of_the_belief():
    belief = Architecture(*(p.requires_grad_() for p in belief_by_hand()))
    through = belief.straight_through()
    assert all(torch.equal(a, b) for a, b in zip(through, belief.discrete(), strict=True))
    grads = torch.autograd.grad(2 * through.operations.sum() + 3 * through.inputs.sum(), list(belief))
    assert (grads[0] == 2).all() and (grads[1] == 3).all()


def test_draws_come_as_often_as_they_are_probable():
    """Of 4000 draws of one task each frequency is within five standard errors; node 2 always has one input."""
    belief = belief_by_hand()
    torch.manual_seed(0)
    drawn = belief.draw(4000)
    for p, d in zip(belief, drawn, strict=True):
        error = (d.mean(0) - p[0]).abs()
        assert (error <= 5 * (p[0] * (1 - p[0]) / 4000).sqrt() + 1e-9).all()
    assert (drawn.inputs[:, 1:].sum(1) == 1).all() and (drawn.operations.sum(2) == 1).all()
    explored = belief.explored(0.4)
    torch.testing.assert_close(explored.operations[0, 2], torch.tensor([0.6 * 0.1 + 0.2, 0.6 * 0.9 + 0.2]).double())
    torch.testing.assert_close(explored.inputs[0], torch.tensor([1, 0.6 * 0.25 + 0.2, 0.6 * 0.75 + 0.2]).double())


def test_the_network_generator_by_hand():
    """Softmax over the operations of an edge and over the edges into a node; at a low temperature it is firm."""
    torch.manual_seed(0)
    net = build(VECTOR, 2)
    chooser = NetworkGenerator(net, 4, hidden=5).double()
    code = torch.randn(2, 4, dtype=torch.float64)
    belief = chooser(code)
    logits = chooser.logits(chooser.hidden(code).clamp(min=0))
    torch.testing.assert_close(belief.operations[1, 2], logits[1, 12:18].softmax(0))
    torch.testing.assert_close(belief.inputs[1, 1:], logits[1, 19:].softmax(0))
    assert (belief.inputs[:, 0] == 1).all()
    per_class = torch.stack([code - 1, code + 1], 1)
    torch.testing.assert_close(chooser(per_class).operations, belief.operations)
    cold = NetworkGenerator(net, 4, hidden=5, temperature=1e-3).double()
    cold.load_state_dict(chooser.state_dict())
    torch.testing.assert_close(cold(code).operations, belief.discrete().operations, rtol=0, atol=1e-3)
    fixed = chooser.fix(3)(code).discrete()
    assert (fixed.operations.argmax(2) == 3).all() and fixed.inputs.tolist() == [[1, 1, 0]] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations": ()}, "operations: none given; an edge needs at least one"),
        ({"operations": ("conv3",)}, "operations: 'conv3' given; allowed are sine"),
        ({"nodes": 0}, "nodes: 0 given; at least 1"),
        ({"nodes": 10}, "nodes: 10 given; at most 9 are allowed"),
        ({"width": 0}, "width: 0 given; at least 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CellNet(VECTOR, 1, **options)


def test_only_one_edge_has_all_its_choices_listed():
    with pytest.raises(ValueError, match="nodes: 2 given; all choices are listed for a single edge only"):
        build(VECTOR, 2).every_choice()
