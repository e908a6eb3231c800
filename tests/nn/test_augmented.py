"""Augmented layers and networks by hand, and against one example after the other through torch's own layers."""

import pytest
import torch
import torch.nn.functional as F

from metabook.nn import MLP, Augmented, AugmentedNet, Pixels

B, S = 2, 3


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_by_hand():
    """W = (1, -1), W* = (-2, 3), h = (3, 1): W h = 2 and W* h = -3, so relu gives 2 + 0; h = (1, 2): -1 and 4, 0 + 4.

    Without ReLUs 2 - 3 = -1 and -1 + 4 = 3. The fast weights alone give 0 and 4.
    """
    x, fast = torch.tensor([[[3.0, 1.0], [1.0, 2.0]]]), torch.tensor([[[-2.0, 3.0]]])
    for activate, slow, right in ((True, True, [2, 4]), (False, True, [-1, 3]), (True, False, [0, 4])):
        layer = Augmented(2, 1, activate=activate)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[1.0, -1.0]]))
        assert layer(x, fast, slow=slow).flatten().tolist() == right


@pytest.mark.parametrize("owner", ["task", "example"])
@pytest.mark.parametrize("kernel", [None, 3])
def test_fast_weights_are_those_of_a_task_or_of_an_example(kernel, owner):
    layer = Augmented(2, 4, kernel=kernel).double()
    x = rand(B, S, 2) if kernel is None else rand(B, S, 2, 5, 5)
    fast = rand(B, *layer.weight.shape, seed=1) if owner == "task" else rand(B, S, *layer.weight.shape, seed=1)
    y = layer(x, fast)
    for b in range(B):
        for s in range(S):
            right = 0
            for w in (layer.weight, fast[b] if owner == "task" else fast[b, s]):
                right = right + F.relu(
                    w @ x[b, s] if kernel is None else F.conv2d(x[b, s : s + 1], w.view(4, 2, 3, 3), padding=1)[0]
                )
            close(y[b, s], right)


# name: (the network, features of an example)
NETS = {
    "linear": (lambda: AugmentedNet(Pixels(), (3, 4, 2)), (3,)),
    "convolutional": (lambda: AugmentedNet(Pixels(), (2, 3, 4, 2), maps=1, side=2), (2, 4, 4)),
}


def alone(name, weights, x):
    """Outputs of one example, by torch's own layers."""
    if name == "convolutional":
        x = F.max_pool2d(F.relu(F.conv2d(x[None], weights[0].view(3, 2, 3, 3), padding=1)), 2)[0].flatten()
        weights = weights[1:]
    for w in weights[:-1]:
        x = F.relu(w @ x)
    return weights[-1] @ x


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_those_of_one_example_after_the_other(name):
    make, shape = NETS[name]
    net, x, y = make().double(), rand(B, S, *shape), torch.tensor([[0, 1, 1], [1, 0, 0]])
    ours = net.gradients(x, y, lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten(), reduction="sum"))
    assert ours.shape == (B, S, net.size) and not ours.requires_grad
    for b in range(B):
        for s in range(S):
            weights = [layer.weight for layer in net.layers]
            loss = F.cross_entropy(alone(name, weights, x[b, s])[None], y[b, s : s + 1])
            close(ours[b, s], torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))


@pytest.mark.parametrize("name", NETS)
def test_without_fast_weights_and_with_zeros_it_is_the_slow_network(name):
    make, shape = NETS[name]
    net, x = make().double(), rand(B, S, *shape)
    right = torch.stack([torch.stack([alone(name, [w.weight for w in net.layers], e) for e in task]) for task in x])
    close(net(x), right)
    close(net(x, torch.zeros(B, net.size).double(), torch.zeros(B, S, net.size).double()), right)


@pytest.mark.parametrize("name", NETS)
def test_with_fast_weights_alone_it_is_the_network_that_has_them_as_slow_ones(name):
    make, shape = NETS[name]
    net, x = make().double(), rand(B, S, *shape)
    fast = torch.cat([layer.weight.detach().flatten() for layer in net.layers])
    close(net(x, fast.expand(B, -1), slow=False), net(x))


def test_a_graph_is_kept_only_when_asked_for():
    """loss = (w x)^2 / 2, gradient g = w x^2, dg/dw = x^2 = 9 at x = 3."""
    net = AugmentedNet(Pixels(), (1, 1)).double()
    x = torch.full((1, 1, 1), 3.0, dtype=torch.float64)
    with torch.no_grad():
        grad = net.gradients(x, x, lambda out, _: out.square().sum() / 2)
    close(grad.flatten(), 9 * net.layers[0].weight.detach().flatten())
    grad = net.gradients(x, x, lambda out, _: out.square().sum() / 2, create_graph=True)
    close(torch.autograd.grad(grad.sum(), net.layers[0].weight)[0], torch.full((1, 1), 9.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Augmented(2, 2, kernel=2), "kernel: 2 given; an odd number"),
        (lambda: Augmented(0, 2), "inputs: 0 given; at least 1"),
        (lambda: AugmentedNet(MLP(2, 2), (2,)), r"widths: \(2,\) given with maps=0"),
        (lambda: AugmentedNet(MLP(2, 2), (2, 3), maps=1), r"widths: \(2, 3\) given with maps=1"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
