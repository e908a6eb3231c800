"""All weights of a task as one vector, and back."""

import pytest
import torch

from metabook.flat import flatten, unflatten

PHI = {"w": torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]), "b": torch.tensor([[9.0], [10.0]])}


def test_the_vector_has_the_weights_in_the_order_of_the_names():
    assert flatten(PHI).tolist() == [[1.0, 2.0, 3.0, 4.0, 9.0], [5.0, 6.0, 7.0, 8.0, 10.0]]


def test_unflatten_is_the_inverse_and_passes_gradients():
    vector = flatten(PHI).requires_grad_()
    back = unflatten(vector, PHI)
    assert list(back) == ["w", "b"] and all(torch.equal(back[k], PHI[k]) for k in PHI)
    back["b"].sum().backward()
    assert vector.grad.tolist() == [[0.0, 0.0, 0.0, 0.0, 1.0]] * 2


@pytest.mark.parametrize("shape", [(2, 4), (2, 6), (5,)])
def test_a_vector_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"vector: shape .* given; \[B, 5\] is needed"):
        unflatten(torch.zeros(shape), PHI)
