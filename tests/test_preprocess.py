"""The preprocessing of gradients: the two cases of the paper, one coordinate at a time."""

import math

import pytest
import torch

from metabook.preprocess import preprocess_gradient


def by_cases(x, p):
    if abs(x) >= math.exp(-p):
        return [math.log(abs(x)) / p, math.copysign(1.0, x)]
    return [-1.0, math.exp(p) * x]


def test_by_hand():
    """p = 10. e^5 -> (0.5, 1); -e^-5 -> (-0.5, -1); -e^-11 is below e^-10 -> (-1, -e^-1); 0 -> (-1, 0)."""
    g = torch.tensor([math.exp(5), -math.exp(-5), -math.exp(-11), 0.0], dtype=torch.float64)
    expected = torch.tensor([[0.5, 1.0], [-0.5, -1.0], [-1.0, -math.exp(-1)], [-1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(preprocess_gradient(g), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("p", [1, 7.0, 10])
def test_every_size_and_both_signs(p):
    sizes = [10.0**e for e in range(-12, 7)]
    g = torch.tensor([[s, -s] for s in sizes], dtype=torch.float64)
    expected = torch.tensor([[by_cases(s, p), by_cases(-s, p)] for s in sizes], dtype=torch.float64)
    torch.testing.assert_close(preprocess_gradient(g, p), expected, rtol=1e-12, atol=1e-12)


def test_it_is_continuous_where_the_cases_meet():
    edge = math.exp(-10)
    below, above = preprocess_gradient(torch.tensor([edge * (1 - 1e-9), edge * (1 + 1e-9)], dtype=torch.float64))
    torch.testing.assert_close(below, above, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_and_the_extremes_are_finite_with_finite_derivatives(dtype):
    info = torch.finfo(dtype)
    g = torch.tensor([0.0, info.tiny, -info.tiny, info.max, -info.max], dtype=dtype, requires_grad=True)
    out = preprocess_gradient(g)
    assert out.dtype == dtype and torch.isfinite(out).all()
    assert torch.isfinite(torch.autograd.grad(out.sum(), g)[0]).all()


@pytest.mark.parametrize(("p", "error"), [(0, ValueError), (-1.0, ValueError), ("ten", TypeError)])
def test_a_scale_that_does_not_exist(p, error):
    with pytest.raises(error, match=f"p: {p!r} given; a"):
        preprocess_gradient(torch.ones(1), p)
