"""The codes of classes: against loops, and what they do not depend on."""

import torch

from metabook.likelihood import Classification, Regression
from metabook.nn import ClassEncoder, PairEncoder, Pixels
from metabook.nn.pair_encoder import describe


def build():
    torch.manual_seed(0)
    encoder = ClassEncoder(Pixels(), 2, Classification(3), hidden=5, code=4).double()
    x = torch.randn(2, 7, 2, dtype=torch.float64)
    return encoder, x, torch.tensor([[0, 1, 2, 2, 1, 0, 0], [2, 2, 2, 1, 0, 1, 0]])


def test_against_loops():
    encoder, x, y = build()
    w, c = encoder.each[0].weight, encoder.each[0].bias
    for b in range(2):
        h = [(w @ v + c).clamp(min=0) for v in x[b]]
        means = [torch.stack([v for v, label in zip(h, y[b], strict=True) if label == n]).mean(0) for n in range(3)]
        m = sum(means) / 3
        for n in range(3):
            u = (encoder.own.weight @ means[n] + encoder.own.bias + encoder.all.weight @ m).clamp(min=0)
            code = encoder.code.weight @ u + encoder.code.bias
            torch.testing.assert_close(encoder(x, y)[b, n], code, rtol=0, atol=1e-12)


def test_other_labels_give_the_same_codes_in_other_rows():
    encoder, x, y = build()
    s = torch.tensor([2, 0, 1])
    torch.testing.assert_close(encoder(x, s[y])[:, s], encoder(x, y), rtol=0, atol=1e-14)
    order = torch.randperm(7)
    torch.testing.assert_close(encoder(x[:, order], y[:, order]), encoder(x, y), rtol=0, atol=1e-14)


def test_a_description_by_hand():
    """Inputs of 4 * 4 = 2^4 numbers, 8 = 2^3 examples; 1 for classes, 0 for numbers. The second task uses two rows of
    four, and a number that is 0 once is still in use; the third uses nothing."""
    x = torch.ones(3, 8, 1, 4, 4)
    x[1, :, :, 2:], x[0, 5], x[2] = 0, 0, 0
    assert describe(x, torch.zeros(3, 8, dtype=torch.int64)).tolist() == [[4, 3, 1], [3, 3, 1], [0, 3, 1]]
    assert describe(x, torch.zeros(3, 8, 1)).tolist() == [[4, 3, 0], [3, 3, 0], [0, 3, 0]]


def test_a_described_set_is_not_the_same_when_it_is_repeated():
    """The mean is the same, the number of examples is not: it enters by log2 S times one column."""
    torch.manual_seed(0)
    encoder = PairEncoder(Pixels(), 1, Regression(), hidden=6, code=3, described=True).double()
    x, y = torch.randn(2, 4, 1, dtype=torch.float64), torch.randn(2, 4, 1, dtype=torch.float64)
    mean = encoder.pair(torch.cat([x, y], -1)).mean(1)
    column = encoder.about.weight[:, 1]
    for times in (1, 2):
        code = encoder.code(mean + column * (2 + times - 1))
        torch.testing.assert_close(encoder(x.repeat(1, times, 1), y.repeat(1, times, 1)), code, rtol=0, atol=1e-12)
