"""The relation module: all pairs at once, without ever building a pair; and the bodies and modules of usual size."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metabook.nn import FeatureMaps
from metabook.nn.relation_module import compare_maps, compare_vectors


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def count(net):
    return sum(p.numel() for p in net.parameters())


MODULES = {
    "maps": (lambda: compare_maps(3, 5, norm="none"), (3, 5, 5)),
    "vectors": (lambda: compare_vectors(6, 4), (6,)),
}


@pytest.mark.parametrize("kind", MODULES)
def test_the_first_layer_on_all_pairs_is_a_sum_of_two_small_results(kind, device):
    """Concatenate every class with every query, class first, and run the whole first layer: the same numbers."""
    make, shape = MODULES[kind]
    torch.manual_seed(0)
    net = make().double().to(device)
    query, classes = draw(2, 4, *shape).to(device), draw(2, 3, *shape, seed=1).to(device)
    seen = []
    net.rest.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    out = net(query, classes)
    pairs = torch.stack([torch.cat([classes[b, n], query[b, q]]) for b in range(2) for q in range(4) for n in range(3)])
    kernel, bias = torch.cat([net.of_class.weight, net.of_query.weight], 1), net.of_class.bias
    whole = F.conv2d(pairs, kernel, bias, padding=1) if kind == "maps" else F.linear(pairs, kernel, bias)
    close(seen[0].flatten(0, 1), whole)
    assert out.shape == (2, 4, 3) and net.of_query.bias is None


@pytest.mark.parametrize("kind", MODULES)
def test_the_first_layer_runs_once_a_query_and_once_a_class(kind):
    make, shape = MODULES[kind]
    net, seen = make().double(), []
    for layer in (net.of_query, net.of_class):
        layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    net(draw(2, 7, *shape), draw(2, 3, *shape))
    assert seen == [7, 3]


def test_the_published_number_of_parameters():
    """Body: as Conv4, 111,936. Relation: the kernel of 128 maps 9 * 128 * 64 + 64, the next 9 * 64 * 64 + 64, scale and
    shift 4 * 64; one place of 64 maps is left of 7 x 7 (and of 5 x 5): 64 * 8 + 8, and 8 + 1."""
    assert count(FeatureMaps(1)) == 111_936
    relation = 9 * 128 * 64 + 64 + 9 * 64 * 64 + 64 + 4 * 64 + 64 * 8 + 8 + 9
    assert count(compare_maps(64, 7)) == count(compare_maps(64, 5)) == relation


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize(("size", "side"), [(16, 4), (19, 4), (28, 7)])
def test_images_of_any_size_from_16_pixels_fit(norm, size, side):
    body, relation = FeatureMaps(2, width=8, size=size, norm=norm), compare_maps(8, size // 4, norm=norm)
    maps = body.double()(draw(2, 5, 2, size, size))
    assert maps.shape == (2, 5, 8, side, side)
    assert relation.double()(maps, maps[:, :3]).shape == (2, 5, 3)


def test_only_the_first_two_blocks_of_the_body_pool():
    """Block by block against torch's own functions."""
    torch.manual_seed(0)
    net, x = FeatureMaps(1, width=2, size=16, norm="none").double(), draw(2, 3, 1, 16, 16)
    expected = x.flatten(0, 1)
    for i, conv in enumerate(layer for layer in net.features if isinstance(layer, nn.Conv2d)):
        expected = F.relu(F.conv2d(expected, conv.weight, conv.bias, padding=1))
        expected = F.max_pool2d(expected, 2) if i < 2 else expected
    close(net(x).flatten(0, 1), expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FeatureMaps(1, size=15), ValueError, "size: 15 pixels given; .*at least 16"),
        (lambda: FeatureMaps(0), ValueError, "channels: 0 given; at least 1"),
        (lambda: FeatureMaps(1, norm="layer"), ValueError, "norm: 'layer' given; allowed are batch, group, none"),
        (lambda: compare_maps(8, 3), ValueError, "size: 3 given; at least 4"),
        (lambda: compare_maps(8, 4, norm="layer"), ValueError, "norm: 'layer' given"),
        (lambda: compare_maps(8, 4, hidden=0), ValueError, "hidden: 0 given; at least 1"),
        (lambda: compare_vectors(8, 2.5), TypeError, "width: 2.5 given"),
    ],
)
def test_options_that_do_not_exist(make, error, message):
    with pytest.raises(error, match=message):
        make()
