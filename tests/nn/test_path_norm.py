"""The path norm against numbers by hand, the sum over every single path, and its invariance."""

import itertools

import pytest
import torch
from torch import nn

from metabook.nn import MLP, Conv4
from metabook.nn.path_norm import check_path_norm, path_norm


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def by_hand():
    """Two inputs, two hidden units, one output: W1 = [[1, 2], [-3, 1]], b1 = (1, 0), W2 = [2, -1], b2 = 3."""
    net = MLP(2, 1, hidden=(2,)).double()
    values = [[[1.0, 2.0], [-3.0, 1.0]], [1.0, 0.0], [[2.0, -1.0]], [3.0]]
    with torch.no_grad():
        for p, value in zip(net.parameters(), values, strict=True):
            p.copy_(torch.tensor(value))
    return net


def test_by_hand_two_layers():
    """Squared weights: unit 1 collects 1 + 4 from the inputs and 1 from its bias, unit 2 collects 9 + 1 and 0.

    The output weighs them by 4 and 1 and adds its bias 9: 4 * 6 + 1 * 10 + 9 = 43. By paths: the inputs give
    1*4 + 4*4 + 9*1 + 1*1 = 30, the hidden biases 1*4 + 0*1 = 4, the last bias 9.
    """
    net = by_hand()
    close(path_norm(net, torch.zeros(3, 5, 2, dtype=torch.float64)).detach(), torch.tensor(43.0, dtype=torch.float64))


def test_by_hand_the_gradient():
    """d/dW1[1,1] = 2 * 1 * 4 = 8, of the first row's others 16 and, for unit 2, 2 * (-3) * 1 = -6 and 2.

    d/dW2 = 2 * 2 * 6 = 24 and 2 * (-1) * 10 = -20; of b1 8 and 0, of b2 6.
    """
    net = by_hand()
    grads = torch.autograd.grad(path_norm(net, torch.zeros(1, 1, 2, dtype=torch.float64)), list(net.parameters()))
    expected = ([[8.0, 16.0], [-6.0, 2.0]], [8.0, 0.0], [[24.0, -20.0]], [6.0])
    for g, e in zip(grads, expected, strict=True):
        close(g, torch.tensor(e, dtype=torch.float64))


def every_path(weights, biases):
    """One product at a time, with loops: paths from every input, and from the bias of every layer."""
    total = 0.0
    widths = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    for first in range(len(weights) + 1):  # 0: from an input; l: from the bias of layer l
        for path in itertools.product(*(range(n) for n in widths[first:])):
            product = 1.0 if first == 0 else biases[first - 1][path[0]].item() ** 2
            for place in range(len(path) - 1):
                product *= weights[first + place][path[place + 1], path[place]].item() ** 2
            total += product
    return total


@pytest.mark.parametrize("hidden", [(), (3,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("own", [False, True], ids=["MLP", "Sequential"])
def test_it_is_the_sum_over_all_paths(hidden, own):
    torch.manual_seed(0)
    if own:
        sizes = [2, *hidden, 3]
        parts = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())][:-1]
        net = nn.Sequential(*parts).double()
    else:
        net = MLP(2, 3, hidden=hidden).double()
    parameters = [p.detach() for p in net.parameters()]
    assert path_norm(net, torch.zeros(4, 2, 2, dtype=torch.float64)).item() == pytest.approx(
        every_path(parameters[::2], parameters[1::2]), rel=1e-12
    )


def test_a_convolution_is_a_matrix_with_shared_weights():
    """A convolution of a 3 x 3 image, then a linear layer, against the same network written as two matrices."""
    torch.manual_seed(0)
    convolution, head = nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.Linear(18, 2)
    net = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), head).double()
    unit = torch.eye(9, dtype=torch.float64).view(9, 1, 3, 3)
    matrix = convolution(unit).flatten(1).T.detach()  # column i: what pixel i sends to each of the 18 units
    expected = every_path([matrix, head.weight.detach()], [torch.zeros(18), head.bias.detach()])
    x = torch.zeros(2, 3, 1, 3, 3, dtype=torch.float64)
    assert path_norm(net, x).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "net", [MLP(3, 2, hidden=(4,)), Conv4(1, 2, width=2, size=16, norm="none")], ids=["MLP", "Conv4"]
)
def test_rescaling_layers_changes_the_l2_norm_and_not_the_path_norm(net):
    """Weights and bias of a layer times 10, the next layer's weights divided by 10: the same function."""
    net, x = net.double(), torch.randn(1, 4, *((3,) if isinstance(net, MLP) else (1, 16, 16)), dtype=torch.float64)
    before, output = path_norm(net, x), net(x)
    size = sum(p.square().sum() for p in net.parameters()).detach()
    weight, bias, following, *_ = net.parameters()
    with torch.no_grad():
        weight.mul_(10), bias.mul_(10), following.div_(10)
    close(net(x), output)
    close(path_norm(net, x), before)
    assert sum(p.square().sum() for p in net.parameters()) > 10 * size


@pytest.mark.parametrize(
    ("net", "layer"),
    [
        (Conv4(1, 2, width=2, norm="batch"), r"features\.1 \(TaskBatchNorm\)"),
        (Conv4(1, 2, width=8, norm="group"), r"features\.1 \(GroupNorm\)"),
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh()), r"1 \(Tanh\)"),
        (nn.Sigmoid(), r"net \(Sigmoid\)"),
    ],
)
def test_networks_without_one_are_refused_and_the_layer_is_named(net, layer):
    with pytest.raises(ValueError, match=f"net: layer {layer} has no path norm; allowed are linear and convolution"):
        check_path_norm(net)


def test_networks_with_one_come_back():
    for net in (MLP(2, 1), Conv4(1, 2, width=2, norm="none")):
        assert check_path_norm(net) is net
