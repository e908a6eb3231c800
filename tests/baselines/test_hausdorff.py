"""The modified Hausdorff distance by hand and against loops over pixels."""

import math

import pytest
import torch

from metabook.baselines import ModifiedHausdorff
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression


def page(*inked, size=5):
    x = torch.zeros(size, size, dtype=torch.float64)
    for row, column in inked:
        x[row, column] = 1
    return x


def task(support, labels, query):
    x = [torch.stack(pages)[None, :, None] for pages in (support, query)]
    return Episode(
        Examples(x[0], torch.tensor([labels])), Examples(x[1], torch.zeros(1, len(query), dtype=torch.int64))
    )


def test_by_hand():
    """All drawings have their centre in the middle. Query: a row of three, columns 1 to 3 of row 2.

    Class 0 is the dot (2, 2): from the row to the dot 1, 0, 1, mean 2/3; back 0; the larger is 2/3.
    Class 1 is the column, rows 1 to 3 of column 2: each way sqrt 2 at (2, 1) -> (1, 2) is not the nearest, (2, 2) at 1
    is; so 1, 0, 1 and mean 2/3 both ways. Class 2 is the row of five: from the query 0; back 1, 0, 0, 0, 1, mean 2/5.
    p is softmax of (-2/3, -2/3, -2/5).
    """
    row = page((2, 1), (2, 2), (2, 3))
    dot, column = page((2, 2)), page((1, 2), (2, 2), (3, 2))
    five = page(*((2, c) for c in range(5)))
    learner = ModifiedHausdorff(Classification(3))
    p = learner(task([dot, column, five], [0, 1, 2], [row])).probs[0, 0]
    weights = [math.exp(-2 / 3), math.exp(-2 / 3), math.exp(-2 / 5)]
    assert p.tolist() == pytest.approx([w / sum(weights) for w in weights], rel=1e-12)


def test_where_the_drawing_stands_does_not_matter():
    shape = [(0, 0), (0, 1), (1, 0)]
    moved = page(*((r + 3, c + 2) for r, c in shape))
    other = page((1, 1), (1, 2), (1, 3), (2, 3))
    learner = ModifiedHausdorff(Classification(2))
    p = learner(task([page(*shape), other], [0, 1], [moved, page(*shape)])).logits
    assert torch.equal(p[0, 0], p[0, 1])
    assert learner.adapt(task([page(*shape), other], [0, 1], [moved]).support).ink.sum() == 7  # none is lost


def reference(a, b):
    """The distance of two pages by loops: ink points moved by whole pixels so that their centre is the middle."""
    sets = []
    for x in (a, b):
        points = [(r, c) for r in range(len(x)) for c in range(len(x)) if x[r, c] > 0.5]
        middle = (len(x) - 1) / 2
        down, right = (torch.tensor(sum(p[i] for p in points) / len(points) - middle).round() for i in (0, 1))
        sets.append([(r - float(down), c - float(right)) for r, c in points])

    def directed(one, two):
        return sum(min(math.dist(p, q) for q in two) for p in one) / len(one)

    return max(directed(*sets), directed(*sets[::-1]))


def test_it_is_the_slow_reference(device):
    """Random ink in the middle of the page, several examples a class: a class is as near as its nearest example."""
    generator = torch.Generator().manual_seed(0)
    pages = torch.zeros(10, 12, 12, dtype=torch.float64)
    pages[:, 4:8, 4:8] = (torch.rand(10, 4, 4, generator=generator) < 0.4).double()
    pages[:, 5, 5] = 1
    labels = [0, 1, 1, 2, 0, 1]
    episode = task(list(pages[:6]), labels, list(pages[6:])).to(device)
    found = ModifiedHausdorff(Classification(3))(episode).logits[0].cpu()
    for q in range(4):
        h = [reference(pages[6 + q], pages[s]) for s in range(6)]
        nearest = torch.tensor([min(h[s] for s in range(6) if labels[s] == k) for k in range(3)], dtype=torch.float64)
        torch.testing.assert_close(found[q], (-nearest).log_softmax(0))


def test_an_empty_page_is_far_from_all():
    learner = ModifiedHausdorff(Classification(2))
    p = learner(task([page((2, 2)), page((2, 1), (2, 2), (2, 3))], [0, 1], [page()])).probs
    assert p[0, 0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModifiedHausdorff(Regression()), "likelihood: Regression.1. given; drawings have classes"),
        (lambda: ModifiedHausdorff(Classification(2), threshold=0), "threshold: 0 given; between 0 and 1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
