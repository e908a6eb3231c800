"""What writes weights from gradients, against cells written out number by number."""

import math

import pytest
import torch

from metabook.nn import GradientMLP, GradientSummary

P = 7.0


def seen(g):
    return [math.log(abs(g)) / P, math.copysign(1.0, g)] if abs(g) >= math.exp(-P) else [-1.0, math.exp(P) * g]


def affine(layer, x):
    return [
        b + sum(w * v for w, v in zip(row, x, strict=True))
        for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def mlp(net, g):
    h = [max(0.0, v) for v in affine(net.first, seen(g))]
    return affine(net.output, [max(0.0, v) for v in affine(net.second, h)])[0]


def lstm(net, gradients):
    """Gates in the order input, forget, candidate, output, as nn.LSTMCell documents it."""
    n, cell = net.hidden, net.cell
    h, c = [0.0] * n, [0.0] * n
    for g in gradients:
        x = seen(g)
        a = [
            bi + bh + sum(w * v for w, v in zip(wi, x, strict=True)) + sum(w * v for w, v in zip(wh, h, strict=True))
            for wi, wh, bi, bh in zip(
                cell.weight_ih.tolist(),
                cell.weight_hh.tolist(),
                cell.bias_ih.tolist(),
                cell.bias_hh.tolist(),
                strict=True,
            )
        ]
        i, f, o = ([1 / (1 + math.exp(-v)) for v in a[k * n : (k + 1) * n]] for k in (0, 1, 3))
        c = [f[k] * c[k] + i[k] * math.tanh(a[2 * n + k]) for k in range(n)]
        h = [o[k] * math.tanh(c[k]) for k in range(n)]
    return affine(net.output, h)[0]


def gradients(s):
    """Of two tasks, some below e^-7 = 0.0009 and one 0."""
    g = torch.randn(2, s, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g[0, 0] = torch.tensor([1e-4, -1e-5, 0.0])
    return g


def close(ours, theirs):
    torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_every_coordinate_goes_through_the_same_small_network():
    net, g = GradientMLP(hidden=4).double(), gradients(3)
    close(net(g), [[[mlp(net, v) for v in row] for row in task] for task in g.tolist()])


@pytest.mark.parametrize(("s", "groups"), [(3, [[0], [1], [2]]), (5, [[0, 2, 4], [1, 3]])], ids=str)
def test_the_lstm_reads_examples_or_the_means_of_groups(s, groups):
    net, g = GradientSummary("lstm", reads=3 if s == 3 else 2, hidden=4).double(), gradients(s)
    means = [
        [[sum(task[i][p] for i in group) / len(group) for p in range(3)] for group in groups] for task in g.tolist()
    ]
    close(net(g), [[lstm(net, [row[p] for row in task]) for p in range(3)] for task in means])


def test_the_mean_goes_through_a_network_and_the_order_does_not_matter():
    net, g = GradientSummary("mean", hidden=4).double(), gradients(3)
    close(net(g), [[mlp(net.mlp, sum(row[p] for row in task) / 3) for p in range(3)] for task in g.tolist()])
    close(net(g[:, [2, 0, 1]]), net(g).tolist())


def test_none_writes_zeros_and_has_no_weights():
    net = GradientSummary("none")
    assert not net(gradients(3)).any() and not list(net.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientSummary("sum"), "summary: 'sum' given; allowed are lstm, mean, none"),
        (lambda: GradientSummary(reads=0), "reads: 0 given; at least 1"),
        (lambda: GradientMLP(hidden=0), "hidden: 0 given; at least 1"),
        (lambda: GradientMLP(p=0), "p: 0 given; a finite number above 0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
