"""The inner loop on quadratics, where every derivative is known."""

import pytest
import torch
from torch import nn

from metabook.inner_loop import clipped, descend, gradient, start

CENTRE = torch.tensor([[1.0], [3.0]], dtype=torch.float64)  # B = 2 tasks, one weight each


def losses(phi):
    """L_b(w) = (w - c_b)^2, so that its gradient is 2 (w - c_b) and its second derivative 2."""
    return (phi["w"] - CENTRE).square().sum(-1)


def theta(value=0.0):
    return torch.full((1,), value, dtype=torch.float64, requires_grad=True)


def linear():
    torch.manual_seed(0)
    return nn.Linear(2, 3).double()


def test_every_task_starts_at_theta_with_weights_of_its_own():
    net = linear()
    phi = start(net, 4)
    assert list(phi) == ["weight", "bias"]
    assert phi["weight"].shape == (4, 3, 2) and phi["bias"].shape == (4, 3)
    assert all(torch.equal(w, net.weight) for w in phi["weight"])
    phi["weight"][1].sum().backward()
    assert torch.equal(net.weight.grad, torch.ones(3, 2))


def test_a_rate_for_each_weight_and_step():
    """From 0 the gradients are -2 and -6. Rates 0.1 and 0.5 for the two tasks: 0.2 and 3. Then a rate of 0.25 for
    both: 0.2 + 0.25 * 1.6 = 0.6, and 3 stays, its minimum."""
    phi = {"w": torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)}
    rates = [{"w": torch.tensor([[0.1], [0.5]], dtype=torch.float64)}, {"w": torch.tensor(0.25, dtype=torch.float64)}]
    assert descend(losses, phi, lr=rates[0], steps=1)["w"].flatten().tolist() == pytest.approx([0.2, 3.0])
    torch.testing.assert_close(
        descend(losses, phi, lr=rates, steps=2)["w"], torch.tensor([[0.6], [3.0]], dtype=torch.float64)
    )


def test_a_rate_gets_its_gradient():
    """L(phi_1) = (0 + 2 c a - c)^2 for c = 1 and 3; its derivative in a is 2 (2 c a - c) 2 c = 4 c^2 (2 a - 1)."""
    a = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    phi = {"w": torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)}
    losses(descend(losses, phi, lr={"w": a}, steps=1)).sum().backward()
    assert a.grad.item() == pytest.approx(4 * (1 + 9) * -0.5)


def test_a_weight_the_loss_does_not_use_has_gradient_zero():
    phi = {"w": torch.zeros(2, 1, dtype=torch.float64), "idle": torch.ones(2, 3, dtype=torch.float64)}
    after = descend(losses, {k: v.requires_grad_() for k, v in phi.items()}, lr=0.1, steps=2)
    assert torch.equal(after["idle"], phi["idle"]) and bool((after["w"] != 0).all())


def test_frozen_parameters_are_no_part_of_the_start():
    net = linear()
    net.bias.requires_grad_(False)
    assert list(start(net, 2)) == ["weight"]


def test_a_tensor_that_stands_in_for_a_parameter_takes_part_whether_or_not_it_requires_a_gradient():
    """So functional_call at constants, as a compiler does it, adapts what the eager learner adapts."""

    class Start(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = linear()

        def forward(self):
            return start(self.net, 2)

    stand_in = torch.ones(3, 2, dtype=torch.float64)
    phi = torch.func.functional_call(Start(), {"net.weight": stand_in}, ())
    assert list(phi) == ["weight", "bias"] and torch.equal(phi["weight"][1], stand_in)


def test_a_network_without_free_parameters_cannot_descend():
    phi = start(linear().requires_grad_(False), 2)
    assert phi == {} == descend(losses, phi, lr=0.1, steps=0)
    with pytest.raises(ValueError, match=r"net: no parameter requires a gradient; gradient steps need at least one"):
        descend(losses, phi, lr=0.1, steps=1)


def test_the_gradient_is_that_of_each_task():
    """At w = 0: 2 (0 - 1) = -2 and 2 (0 - 3) = -6."""
    w = theta()
    grads = gradient(losses, {"w": w.expand(2, 1)}, create_graph=False)
    assert grads["w"].tolist() == [[-2.0], [-6.0]] and not grads["w"].requires_grad


def test_the_gradient_can_be_differentiated_only_with_a_graph():
    w = theta()
    grads = gradient(losses, {"w": w.expand(2, 1)}, create_graph=True)
    assert torch.autograd.grad(grads["w"].sum(), w)[0].item() == 4.0  # 2 for each task


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_steps_on_a_quadratic_are_known_in_closed_form(steps):
    """w_T = c + (1 - 2 lr)^T (w_0 - c). With lr 0.25 the factor is 1/2; its derivative in w_0 is 2^-T."""
    w = theta(5.0)
    phi = descend(losses, {"w": w.expand(2, 1)}, lr=0.25, steps=steps)
    torch.testing.assert_close(phi["w"], CENTRE + 0.5**steps * (w - CENTRE), rtol=0, atol=1e-14)
    slopes = [torch.autograd.grad(phi["w"][b, 0], w, retain_graph=True)[0].item() for b in range(2)]
    assert slopes == pytest.approx([0.5**steps] * 2, abs=1e-14)


def test_first_order_leaves_the_second_derivatives_out_at_every_step():
    """The inner gradients are constants, so w_T = w_0 - constants and its derivative in w_0 is 1, not 2^-3."""
    w = theta(5.0)
    exact = descend(losses, {"w": w.expand(2, 1)}, lr=0.25, steps=3)
    phi = descend(losses, {"w": w.expand(2, 1)}, lr=0.25, steps=3, first_order=True)
    assert torch.equal(phi["w"], exact["w"])
    assert torch.autograd.grad(phi["w"].sum(), w)[0].item() == 2.0


def test_without_a_graph_it_takes_the_same_steps():
    w = theta(5.0)
    with torch.no_grad():
        phi = descend(losses, {"w": w.expand(2, 1)}, lr=0.25, steps=3)
    assert not phi["w"].requires_grad and w.grad is None
    assert torch.equal(phi["w"], descend(losses, {"w": w.expand(2, 1)}, lr=0.25, steps=3)["w"])


def test_without_a_graph_and_steps_it_is_theta_as_a_constant():
    with torch.no_grad():
        phi = descend(losses, {"w": theta(5.0).expand(2, 1)}, lr=0.25, steps=0)
    assert phi["w"].tolist() == [[5.0], [5.0]] and not phi["w"].requires_grad


def test_a_long_gradient_is_shortened_by_hand():
    """Task 0: (3, 4) is 5 long, halved to 2.5; task 1: (0.3, 0.4) stays; task 2: 0 stays 0, with a finite slope."""
    a = torch.tensor([[3.0], [0.3], [0.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[4.0], [0.4], [0.0]], dtype=torch.float64, requires_grad=True)
    short = clipped({"a": a, "b": b}, 2.5)
    assert short["a"].flatten().tolist() == pytest.approx([1.5, 0.3, 0])
    assert short["b"].flatten().tolist() == pytest.approx([2, 0.4, 0])
    grads = torch.autograd.grad(sum(v.sum() for v in short.values()), [a, b])
    assert all(torch.isfinite(g).all() for g in grads)


def test_a_clipped_step_by_hand_and_its_second_derivative():
    """L = w^2 k, gradient 2 k w. With clip 1 every step from w = 3 has length 0.1, so two steps end at 2.8, whatever k.

    Its derivative in w is 1, where an unclipped step has 1 - 0.2 k; gradcheck agrees where the limit is active.
    """

    def end(w, k):
        steps = descend(lambda p: (k * p["w"].square()).sum(1), {"w": w}, lr=0.1, steps=2, clip=1.0)
        return steps["w"]

    w = torch.tensor([[3.0], [0.2]], dtype=torch.float64, requires_grad=True)
    for k in (1.0, 5.0):
        assert end(w, k)[0].item() == pytest.approx(2.8, abs=1e-12)
        assert torch.autograd.grad(end(w, k)[0].sum(), w)[0][0].item() == pytest.approx(1, abs=1e-12)
    assert end(w, 1.0)[1].item() == pytest.approx(0.2 * 0.8**2, abs=1e-12)
    v = torch.tensor([[3.0, -2.0], [0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: end(w, k), v)
