"""The backbones: shapes, parameters, and the published order of operations written out with torch's functions."""

import pytest
import torch
import torch.nn.functional as F

from metabook.nn import MLP, Conv4, Pixels, SideBySide


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def ready(net):
    """In float64, with scales away from 1 and shifts away from 0."""
    net = net.double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.add_(0.2 * draw(*p.shape, seed=i))
    return net


def count(net):
    return sum(p.numel() for p in net.parameters())


def norm(x, kind, scale, shift):
    if kind == "batch":
        return F.batch_norm(x, None, None, scale, shift, training=True)
    return F.group_norm(x, 8 if x.shape[1] % 8 == 0 else 1, scale, shift)


def published(net, x, kind):
    """Convolution, norm, ReLU, max-pool for one task; the package pools before the ReLU, which is the same."""
    weights = list(net.parameters())
    while len(weights) > 2 or (weights and weights[0].dim() == 4):
        x = F.conv2d(x, weights.pop(0), weights.pop(0), padding=1)
        if kind != "none":
            x = norm(x, kind, weights.pop(0), weights.pop(0))
        x = F.max_pool2d(F.relu(x), 2)
    x = x.flatten(1)
    return F.linear(x, *weights) if weights else x


@pytest.mark.parametrize("kind", ["batch", "group", "none"])
@pytest.mark.parametrize(("width", "outputs"), [(3, 4), (8, 4), (3, None)])
def test_conv4_is_the_published_network(kind, width, outputs, device):
    net = ready(Conv4(2, outputs, width=width, size=17, norm=kind)).to(device)
    x = draw(2, 3, 2, 17, 17).to(device)
    out, expected = net(x), torch.stack([published(net, task, kind) for task in x])
    close(out, expected)
    weight = draw(*out.shape, seed=1).to(device)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), list(net.parameters())) for y in (out, expected))
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def test_conv4_has_the_published_number_of_parameters():
    """28 x 28 halved four times is 1 x 1, so 64 features. Kernels 9 * 64 + 3 * 9 * 64 * 64, and 3 * 64 for the bias,
    scale and shift of each of four blocks, 111,936 in all; the head of five classes 5 * 64 + 5."""
    assert Conv4(1).size_out == 64 and count(Conv4(1)) == 111_936
    assert count(Conv4(1, 5)) == 111_936 + 325
    assert Conv4(3, size=84, width=32).size_out == 800  # mini-ImageNet: 5 x 5 x 32


def test_conv4_with_other_blocks_and_sizes():
    assert Conv4(1, blocks=2, size=11, width=3).double()(draw(2, 3, 1, 11, 11)).shape == (2, 3, 3 * 2 * 2)
    assert Conv4(1, 7, blocks=1, size=2, width=3).double()(draw(2, 3, 1, 2, 2)).shape == (2, 3, 7)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"norm": "layer"}, ValueError, "norm: 'layer' given; allowed are batch, group, none"),
        ({"size": 15}, ValueError, "size: 15 pixels given; 4 blocks that halve it need at least 16"),
        ({"size": 3, "blocks": 2}, ValueError, "size: 3 pixels given; 2 blocks that halve it need at least 4"),
        ({"width": 0}, ValueError, "width: 0 given; at least 1"),
        ({"width": 2.5}, TypeError, "width: 2.5 given"),
        ({"blocks": 0}, ValueError, "blocks: 0 given; at least 1"),
    ],
)
def test_conv4_options_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        Conv4(1, **options)


@pytest.mark.parametrize("hidden", [(), (4,), (5, 4)], ids=str)
def test_mlp_is_linear_layers_with_relu_between(hidden, device):
    net, x = ready(MLP(6, 2, hidden=hidden)).to(device), draw(3, 4, 2, 3).to(device)
    expected = x.flatten(2)
    weights = list(net.parameters())
    for i in range(0, len(weights), 2):
        expected = (F.relu(expected) if i else expected) @ weights[i].T + weights[i + 1]
    close(net(x), expected)


@pytest.mark.parametrize(("name", "activation"), [("sigmoid", lambda z: 1 / (1 + torch.exp(-z))), ("tanh", torch.tanh)])
def test_mlp_with_another_activation_and_without_biases(name, activation, device):
    net, x = ready(MLP(3, 2, hidden=(4,), activation=name, bias=False)).to(device), draw(2, 5, 3).to(device)
    first, last = net.parameters()
    close(net(x), activation(x @ first.T) @ last.T)
    with pytest.raises(ValueError, match="activation: 'step' given; allowed are relu, sigmoid, tanh"):
        MLP(1, 1, activation="step")


def test_mlp_is_the_sinusoid_network_by_default():
    """1 - 40 - 40 - 1: 80 + 1640 + 41 parameters."""
    assert count(MLP(1, 1)) == 1761


@pytest.mark.parametrize(("sizes", "message"), [((0, 1), "inputs: 0 given"), ((1, 0), "outputs: 0 given")])
def test_mlp_sizes_that_do_not_exist(sizes, message):
    with pytest.raises(ValueError, match=message):
        MLP(*sizes)


def test_pixels_are_the_flat_input():
    x = draw(2, 3, 1, 4, 5)
    assert torch.equal(Pixels()(x), x.reshape(2, 3, 20)) and not list(Pixels().parameters())


@pytest.mark.parametrize("net", [MLP(1, 1), Conv4(1), Pixels()])
def test_every_network_here_takes_the_task_dimension(net):
    assert net.takes_tasks is True


def test_side_by_side_are_the_features_of_each():
    torch.manual_seed(0)
    bodies = Conv4(1, width=8, norm="none"), MLP(784, 5)
    x = torch.randn(2, 3, 1, 28, 28)
    both = SideBySide(*bodies)(x)
    assert both.shape == (2, 3, 13)
    assert torch.equal(both[..., :8], bodies[0](x)) and torch.equal(both[..., 8:], bodies[1](x))
    with pytest.raises(ValueError, match="bodies: none given"):
        SideBySide()
