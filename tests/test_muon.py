"""Muon: an orthogonal step by hand, by singular values, and Adam for what is no matrix."""

import pytest
import torch

from metabook.muon import Muon, orthogonal


def test_singular_values_end_near_one(device):
    """Singular values of 1e-2 to 1 of the largest come out between 0.6 and 1.25, and the singular vectors stay."""
    torch.manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(9, 6, dtype=torch.float64))
    values = torch.logspace(-1.5, 0, 6, dtype=torch.float64)
    x = (u * values) @ v.T
    for matrix, left, right in ((x, u, v), (x.T, v, u)):
        inside = left.T @ orthogonal(matrix.to(device)).cpu() @ right
        torch.testing.assert_close(inside, torch.diag(inside.diag()), rtol=0, atol=1e-12)
        assert ((inside.diag() > 0.6) & (inside.diag() < 1.25)).all()


def test_by_hand_for_one_number():
    """For a 1 x 1 matrix x / |x| = 1, and one iteration maps s to s (a + b s^2 + c s^4): the signs are those of x."""
    a, b, c = 3.4445, -4.7750, 2.0315
    s = 1.0
    for _ in range(5):
        s = s * (a + b * s**2 + c * s**4)
    assert orthogonal(torch.tensor([[-3.0]], dtype=torch.float64)).item() == pytest.approx(-s, rel=1e-6)
    assert orthogonal(torch.zeros(2, 3)).tolist() == torch.zeros(2, 3).tolist()


def test_a_kernel_is_a_matrix_and_the_step_is_as_documented():
    """Two steps by hand: mean m, then the gradient looked at one step ahead, orthogonal, decay before it."""
    torch.manual_seed(0)
    p = torch.nn.Parameter(torch.randn(8, 2, 1, 2, dtype=torch.float64))
    q = p.detach().clone()
    optimizer = Muon([p], lr=0.1, momentum=0.8, decay=0.5)
    mean = torch.zeros_like(q)
    for _ in range(2):
        g = torch.randn_like(q)
        p.grad = g.clone()
        optimizer.step()
        mean = 0.8 * mean + 0.2 * g
        ahead = 0.2 * g + 0.8 * mean
        q = q * (1 - 0.1 * 0.5) - 0.1 * (8 / 4) ** 0.5 * orthogonal(ahead.view(8, 4)).view(8, 2, 1, 2)
        torch.testing.assert_close(p.detach(), q)


def test_vectors_are_adams():
    torch.manual_seed(0)
    p, q = (torch.nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
    ours, adam = Muon([p], lr=0.6), torch.optim.Adam([q], lr=0.1, betas=(0.9, 0.99))
    for _ in range(4):
        p.grad = torch.randn(5, dtype=torch.float64)
        q.grad = p.grad.clone()
        ours.step()
        adam.step()
    torch.testing.assert_close(p.detach(), q.detach())


def test_its_state_is_saved_and_loaded():
    torch.manual_seed(0)
    grads = [[torch.randn(3, 4), torch.randn(3)] for _ in range(4)]

    def run(parameters, optimizer, part):
        for values in part:
            for p, g in zip(parameters, values, strict=True):
                p.grad = g.clone()
            optimizer.step()

    def new():
        parameters = [torch.nn.Parameter(torch.ones(3, 4)), torch.nn.Parameter(torch.ones(3))]
        return parameters, Muon(parameters)

    whole, optimizer = new()
    run(whole, optimizer, grads)
    first, optimizer = new()
    run(first, optimizer, grads[:2])
    again, other = new()
    for p, q in zip(again, first, strict=True):
        p.data.copy_(q.data)
    other.load_state_dict(optimizer.state_dict())
    run(again, other, grads[2:])
    assert all(torch.equal(p, q) for p, q in zip(again, whole, strict=True))


def test_a_parameter_without_a_gradient_stays():
    p = torch.nn.Parameter(torch.ones(2, 2))
    Muon([p]).step()
    assert torch.equal(p.detach(), torch.ones(2, 2))


def test_a_rate_that_is_none():
    with pytest.raises(ValueError, match="lr: -1 given"):
        Muon([torch.nn.Parameter(torch.ones(2, 2))], lr=-1)
