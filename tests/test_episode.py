"""Episodes are plain tuples of tensors: slicing, moving and joining them, by numbers that say where they come from."""

import pytest
import torch

from metabook.episode import Episode, Examples, union


def examples(b=3, s=2, offset=0.0):
    """x[b, s] = 10 b + s + offset, y[b, s] = b: every number says its place."""
    x = 10.0 * torch.arange(b)[:, None] + torch.arange(s) + offset
    return Examples(x[..., None], torch.arange(b)[:, None].repeat(1, s))


def episode():
    return Episode(examples(s=2), examples(s=4, offset=0.5))


def test_batch_size_counts_the_tasks():
    assert episode().batch_size == 3


@pytest.mark.parametrize(("i", "place"), [(0, 0), (2, 2), (-1, 2), (-3, 0)])
def test_a_task_keeps_the_task_dimension(i, place):
    one = episode().task(i)
    assert one.support.x.shape == (1, 2, 1) and one.query.x.shape == (1, 4, 1)
    assert one.support.x[0, 1, 0] == 10 * place + 1 and one.query.x[0, 3, 0] == 10 * place + 3.5
    assert (one.support.y == place).all() and (one.query.y == place).all()


@pytest.mark.parametrize("i", [3, -4])
def test_a_task_that_is_not_there(i):
    with pytest.raises(IndexError, match=rf"i: task {i} does not exist; this episode has 3 tasks, 0 to 2"):
        episode().task(i)


def test_a_slice_of_tasks():
    part = episode().tasks(slice(1, 3))
    assert part.support.x[:, 0, 0].tolist() == [10, 20] and part.query.y[:, 0].tolist() == [1, 2]


def test_a_new_dtype_is_for_numbers_and_not_for_classes():
    moved = episode().to(dtype=torch.float64)
    assert all(part.x.dtype == torch.float64 and part.y.dtype == torch.int64 for part in moved)
    targets = Examples(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)).to(dtype=torch.float64)
    assert targets.x.dtype == targets.y.dtype == torch.float64


def test_moving_to_a_device_takes_everything_along():
    moved = episode().to("meta")
    assert {t.device.type for part in moved for t in part} == {"meta"}
    assert {t.dtype for part in moved for t in part} == {torch.float32, torch.int64}


def test_a_union_puts_one_set_behind_the_other():
    both = union(*episode())
    assert both.x[1, :, 0].tolist() == [10, 11, 10.5, 11.5, 12.5, 13.5]
    assert both.y.shape == (3, 6) and both.y[2].tolist() == [2] * 6


def test_minibatches_deal_the_examples_out_in_turn():
    """Six examples in minibatches of two: three of them, 0 3, 1 4, 2 5; step 3 begins again. Of four: 0 2 4, 1 3 5."""
    six = Examples(torch.arange(6.0).view(1, 6, 1), torch.arange(6).view(1, 6))
    assert [six.minibatch(t, 2).y.tolist() for t in range(4)] == [[[0, 3]], [[1, 4]], [[2, 5]], [[0, 3]]]
    assert [six.minibatch(t, 4).y.tolist() for t in range(2)] == [[[0, 2, 4]], [[1, 3, 5]]]
    assert torch.equal(six.minibatch(7, 6).x, six.x) and torch.equal(six.minibatch(7, 99).x, six.x)
