"""The relation network of LEO against Python loops over all pairs."""

import pytest
import torch

from metabook.nn import PairMeans


@pytest.mark.parametrize("hidden", [(3,), (5, 3), (5, 4, 3)], ids=str)
def test_means_of_pairs_are_those_of_loops(hidden):
    torch.manual_seed(0)
    net = PairMeans(4, 2, hidden=hidden).double()
    e = torch.randn(2, 6, 4, dtype=torch.float64)
    first = torch.cat([net.of_example.weight, net.of_partner.weight], 1)
    for b in range(2):
        for i in range(6):
            total = torch.zeros(2, dtype=torch.float64)
            for j in range(6):
                h = first @ torch.cat([e[b, i], e[b, j]])
                for layer in net.rest.layers:
                    h = layer.weight @ torch.relu(h)
                total += h
            torch.testing.assert_close(net(e)[b, i], total / 6, rtol=1e-12, atol=1e-12)


def test_by_hand():
    """All weights 1, examples 1 and -3: pairs 2, -2 and -2, -6; after the ReLU 2, 0 and 0, 0; means 1 and 0."""
    net = PairMeans(1, 1, hidden=(1,))
    for p in net.parameters():
        torch.nn.init.ones_(p)
    assert net(torch.tensor([[[1.0], [-3.0]]])).flatten().tolist() == [1.0, 0.0]


def test_a_single_example_has_itself_as_partner():
    net = PairMeans(2, 3, hidden=(4,))
    e = torch.randn(5, 1, 2)
    pair = (net.of_example(e) + net.of_partner(e)).relu()
    torch.testing.assert_close(net(e), net.rest(pair))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PairMeans(0, 1), "inputs: 0 given"),
        (lambda: PairMeans(1, 0), "outputs: 0 given"),
        (lambda: PairMeans(1, 1, hidden=(0,)), "hidden: 0 given"),
        (lambda: PairMeans(1, 1, hidden=()), r"hidden: \(\) given; the network of a pair needs at least one"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
