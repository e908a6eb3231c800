"""Covariance functions: values by hand, and positive definiteness."""

import math

import pytest
import torch

from metabook.kernels import KERNELS, covariance, precise


@pytest.mark.parametrize(
    ("kernel", "distance", "expected"),
    [
        ("rbf", 0.5, math.exp(-0.5)),  # r = l
        ("rbf", 1.0, math.exp(-2)),  # r = 2 l
        ("matern52", 0.5 / math.sqrt(5), (7 / 3) / math.e),  # sqrt(5) r / l = 1: 1 + 1 + 1/3
        ("periodic", 0.5, math.exp(-8)),  # half a period: sin = 1, 2 / l^2 = 8
        ("periodic", 3.0, 1.0),  # whole periods
    ],
)
def test_values_by_hand_at_length_scale_one_half(kernel, distance, expected):
    x1, x2 = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[0.3 - distance]], dtype=torch.float64)
    value = covariance(kernel, x1, x2, torch.tensor(0.5).double())
    assert value.shape == (1, 1) and value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_length_scale_for_each_process(kernel):
    x1, x2 = torch.randn(3, 4, 1), torch.randn(3, 2, 1)
    scales = torch.tensor([0.2, 1.0, 3.0])
    together = covariance(kernel, x1, x2, scales)
    assert together.shape == (3, 4, 2)
    for i in range(3):
        torch.testing.assert_close(together[i], covariance(kernel, x1[i], x2[i], scales[i]))
    square = covariance(kernel, x1, x1, scales)
    torch.testing.assert_close(square.diagonal(dim1=1, dim2=2), torch.ones(3, 4))
    assert torch.linalg.eigvalsh(square.double()).min() > -1e-6


def test_unknown_kernel_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"^kernel: 'laplace' given; allowed are rbf, matern52, periodic$"):
        covariance("laplace", torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(()))


def test_precise_is_float64(device):
    t = torch.ones(2, device=device)
    assert precise(t).dtype == torch.float64 and precise(t).sum() == 2
