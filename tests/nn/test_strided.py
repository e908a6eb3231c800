"""The strided network written out with torch's functions, and its sizes."""

import pytest
import torch
import torch.nn.functional as F

from metabook.mapping import uses_batch_statistics
from metabook.nn import Strided


def normed(x, kind, scale, shift):
    if kind in ("batch", "running"):
        return F.batch_norm(x, None, None, scale, shift, training=True)
    return F.group_norm(x, 8, scale, shift)


def written_out(net, x, kind):
    """One task [S, C, H, W]: convolution, norm, ReLU, and pooling after the second and the third."""
    weights = list(net.parameters())
    for i in range(4):
        kernel = weights.pop(0)
        bias = weights.pop(0) if kind == "none" else None
        x = F.conv2d(x, kernel, bias, stride=2 if i == 0 else 1, padding=kernel.shape[-1] // 2)
        if kind != "none":
            x = normed(x, kind, weights.pop(0), weights.pop(0))
        x = F.relu(x)
        if i in (1, 2):
            x = F.max_pool2d(x, 2)
    assert not weights
    return x.flatten(1)


@pytest.mark.parametrize("kind", ["batch", "group", "none", "running"])
def test_it_is_the_network_written_out(kind, device):
    torch.manual_seed(0)
    net = Strided(2, widths=(8, 8, 16, 8), norm=kind).double().to(device)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))
    x = torch.randn(2, 3, 2, 18, 18, dtype=torch.float64, device=device)
    tasks = [x.flatten(0, 1)] if kind == "running" else x  # over all tasks, or each by itself
    out, expected = net(x), torch.stack([written_out(net, task, kind) for task in tasks]).view(2, 3, -1)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    weight = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), list(net.parameters())) for y in (out, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_running_statistics_are_used_in_evaluation_mode_only():
    """In evaluation mode an example has the same features alone; in training mode it has not."""
    torch.manual_seed(0)
    net = Strided(1, widths=(4, 4, 4, 4), norm="running").double()
    x = torch.randn(1, 5, 1, 16, 16, dtype=torch.float64)
    for _ in range(3):
        net(x)  # moves the averages
    assert uses_batch_statistics(net) and not torch.allclose(net(x)[:, :1], net(x[:, :1]))
    net.eval()
    assert not uses_batch_statistics(net)
    torch.testing.assert_close(net(x)[:, :1], net(x[:, :1]))


def test_sizes():
    """28: 14, 7, 3, so 9 places of 128 features; 36: 18, 9, 4, so 16; 35 is 18 after the stride too."""
    for size, places in ((28, 9), (36, 16), (35, 16)):
        assert Strided(1)(torch.zeros(1, 2, 1, size, size)).shape == (1, 2, places * 128)


@pytest.mark.parametrize("size", [28, 36])
def test_maps_and_a_linear_end(size):
    """Maps: no second pooling and no last ReLU. Outputs: a linear layer on the features."""
    torch.manual_seed(0)
    plain, maps, linear = (Strided(1, size=size, **options) for options in ({}, {"maps": True}, {"outputs": 7}))
    x = torch.rand(1, 2, 1, size, size)
    assert maps(x).shape == (1, 2, 128, size // 4, size // 4) and bool((maps(x) < 0).any())
    assert [p.shape for p in maps.parameters()] == [p.shape for p in plain.parameters()]
    linear.features.load_state_dict(plain.features.state_dict())
    torch.testing.assert_close(linear(x), linear.head(plain(x)))
    assert linear(x).shape == (1, 2, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": 3, "maps": True}, "outputs: 3 given with maps=True"),
        ({"widths": (8, 8, 8)}, "widths: 3 of them given; four are needed"),
        ({"widths": (8, 8, 8, 0)}, "widths: 0 given; at least 1"),
        ({"norm": "layer"}, "norm: 'layer' given; allowed are batch, group, none, running"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Strided(1, **options)
