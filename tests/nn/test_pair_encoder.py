"""The code of a set of pairs: against loops, and what it does not depend on."""

import torch

from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, PairEncoder, Pixels


def test_regression_against_loops():
    torch.manual_seed(0)
    encoder = PairEncoder(Pixels(), 2, Regression(1), hidden=6, code=3).double()
    x, y = torch.randn(4, 5, 2, dtype=torch.float64), torch.randn(4, 5, 1, dtype=torch.float64)
    (w1, c1, w2, c2), (w3, c3) = encoder.pair.parameters(), encoder.code.parameters()
    for b in range(4):
        each = [w2 @ (w1 @ torch.cat([x[b, s], y[b, s]]) + c1).clamp(min=0) + c2 for s in range(5)]
        code = w3 @ (sum(each) / 5).clamp(min=0) + c3
        torch.testing.assert_close(encoder(x, y)[b], code, rtol=0, atol=1e-12)


def test_a_class_enters_by_its_row_of_the_table():
    torch.manual_seed(0)
    encoder = PairEncoder(MLP(2, 4), 4, Classification(3)).double()
    x, y = torch.randn(2, 3, 2, dtype=torch.float64), torch.tensor([[0, 1, 2], [2, 2, 1]])
    pairs = torch.cat([encoder.body(x), encoder.labels.weight[y]], -1)
    torch.testing.assert_close(encoder(x, y), encoder.code(encoder.pair(pairs).mean(1)))


def test_neither_the_order_nor_a_repetition_of_the_set_matters():
    encoder = PairEncoder(Pixels(), 1, Regression()).double()
    x, y = torch.randn(2, 4, 1, dtype=torch.float64), torch.randn(2, 4, 1, dtype=torch.float64)
    code = encoder(x, y)
    torch.testing.assert_close(encoder(x.flip(1), y.flip(1)), code, rtol=0, atol=1e-14)
    torch.testing.assert_close(encoder(x.repeat(1, 3, 1), y.repeat(1, 3, 1)), code, rtol=0, atol=1e-14)
    assert (encoder(x, y.flip(1)) - code).abs().max() > 1e-4  # pairs, not two sets


def test_pairs_read_each_other_against_loops():
    """One block of four heads of width 2, from its weights, pair by pair."""
    torch.manual_seed(0)
    encoder = PairEncoder(Pixels(), 1, Regression(), hidden=8, code=3, blocks=1).double()
    x, y = torch.randn(2, 5, 1, dtype=torch.float64), torch.randn(2, 5, 1, dtype=torch.float64)
    block = encoder.blocks[0]
    attention = block.attention
    for b in range(2):
        h = [encoder.pair(torch.cat([x[b, s], y[b, s]])) for s in range(5)]
        m = [v / (v.square().mean() + 1e-6).sqrt() for v in h]
        mean = torch.zeros(8, dtype=torch.float64)
        for s in range(5):
            read = []
            for head in range(4):
                rows = slice(2 * head, 2 * head + 2)
                q, k, v = (getattr(attention, name).weight[rows] for name in ("query", "key", "value"))
                likeness = torch.stack([(q @ m[s]) @ (k @ m[t]) / 2**0.5 for t in range(5)]).exp()
                read.append(sum(likeness[t] / likeness.sum() * (v @ m[t]) for t in range(5)))
            z = h[s] + attention.out.weight @ torch.cat(read)
            mean += (z + block.down(torch.relu(block.up(z / (z.square().mean() + 1e-6).sqrt())))) / 5
        torch.testing.assert_close(encoder(x, y)[b], encoder.code(mean), rtol=0, atol=1e-12)
    torch.testing.assert_close(encoder(x.flip(1), y.flip(1)), encoder(x, y), rtol=0, atol=1e-12)
