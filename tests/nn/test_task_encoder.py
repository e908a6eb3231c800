"""The encoder of tasks: its statistics by hand, and what a change of units does to them."""

import math

import torch

from metabook.nn import TaskEncoder


def bare(x_shape, tensors, directions):
    """An encoder whose code is the statistics themselves, up to silu, which is nearly the identity far above 0."""
    encoder = TaskEncoder(x_shape, tensors, code=directions + tensors, directions=directions).double()
    with torch.no_grad():
        for layer, shift in ((encoder.hidden, 100.0), (encoder.code, -100.0)):
            layer.weight.copy_(torch.eye(*layer.weight.shape))
            layer.bias.fill_(shift)
    return encoder


def test_by_hand():
    """Examples (1, 2) and (3, 0): mean squares 5 along the first axis and 2 along the second.

    The third direction is (1, 1) with offset 1: 4 and 4, mean square 16. The one gradient (3, 4) has mean square 12.5.
    """
    encoder = bare((2,), 1, 3)
    with torch.no_grad():
        encoder.directions.weight[2], encoder.directions.bias[2] = torch.ones(2), 1.0
    x = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]], dtype=torch.float64)
    code = encoder(x, {"w": torch.tensor([[[3.0, 4.0]]], dtype=torch.float64)})
    expected = [math.log10(v + 1e-6) for v in (5, 2, 16, 12.5)]
    torch.testing.assert_close(code, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=1e-9)


def test_inputs_ten_times_as_large_shift_the_statistics_by_two():
    """A mean square grows by 100, its decimal logarithm by 2, along directions without offset."""
    encoder = bare((3,), 0, 3)
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        encoder(10 * x, {}) - encoder(x, {}), torch.full((4, 3), 2.0).double(), rtol=0, atol=1e-4
    )


def test_images_enter_as_means_over_a_grid_of_four_by_four():
    encoder = bare((1, 8, 8), 0, 16)
    image = torch.arange(64.0, dtype=torch.float64).view(1, 1, 1, 8, 8) + 1
    blocks = [image[0, 0, 0, i : i + 2, j : j + 2].mean() for i in range(0, 8, 2) for j in range(0, 8, 2)]
    expected = torch.stack(blocks).square().add(1e-6).log10()
    torch.testing.assert_close(encoder(image, {})[0], expected, rtol=0, atol=1e-9)


def test_a_set_of_zeros_has_a_finite_code_and_gradient():
    encoder = TaskEncoder((2,), 1)
    code = encoder(torch.zeros(1, 3, 2), {"w": torch.zeros(1, 2)})
    code.sum().backward()
    assert torch.isfinite(code).all() and all(torch.isfinite(p.grad).all() for p in encoder.parameters())
