"""The count of saved bytes, against graphs whose saved tensors are known."""

import pytest
import torch

from metabook.memory import peak_allocated, peak_saved


def weight(n=1000):
    return torch.ones(n, dtype=torch.float64, requires_grad=True)


def test_a_product_waits_with_both_its_factors():
    """d(ab)/da = b and d(ab)/db = a: two tensors of 1000 doubles, 8 bytes each. A square of a waits with one."""
    a, b = weight(), weight()
    assert peak_saved(lambda: a * b) == 2 * 8000
    assert peak_saved(lambda: a * a) == 8000
    assert peak_saved(lambda: a + b) == 0


@pytest.mark.parametrize("links", [1, 5])
def test_a_chain_waits_with_every_link(links):
    """tanh' = 1 - tanh^2: each link keeps its own result, 8000 bytes."""

    def chain():
        x = weight()
        for _ in range(links):
            x = x.tanh()
        return x

    assert peak_saved(chain) == links * 8000


def test_views_of_one_storage_count_once_and_whole():
    """1000 numbers, expanded to 50 rows and sliced, are one storage of 8000 bytes. The 50 x 1000 result of tanh is
    another one, of 400,000."""
    rows = weight().expand(50, 1000)
    assert peak_saved(lambda: (rows * rows, rows[:, :3] * rows[:, 3:6])) == 8000
    assert peak_saved(lambda: (rows * rows).tanh()) == 8000 + 400_000


def test_a_backward_pass_lets_go():
    """Three graphs one after the other hold as much as one; three graphs together hold three times as much."""
    x = weight()
    assert peak_saved(lambda: [x.tanh().sum().backward() for _ in range(3)]) == 8000
    assert peak_saved(lambda: [x.tanh() for _ in range(3)]) == 3 * 8000


def test_a_graph_that_is_thrown_away_lets_go():
    """No backward pass, and no reference left: the result that tanh's own node saves goes with the node."""
    x = weight()
    assert peak_saved(lambda: [x.tanh().detach() for _ in range(3)]) == 8000


def test_derivatives_come_out_as_without_the_count():
    x, found = weight(3), []

    def act():
        (g,) = torch.autograd.grad((x.tanh() ** 3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(g.sum(), x)[0])

    peak_saved(act)
    act()
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_it_is_the_peak_not_what_is_left():
    """8000 bytes are let go before 800 come."""
    x, small = weight(), weight(100)
    assert peak_saved(lambda: (x.tanh().sum().backward(), small.tanh())) == 8000


def test_without_a_graph_nothing_is_held():
    def act():
        with torch.no_grad():
            return weight().tanh() * weight()

    assert peak_saved(act) == 0


def test_a_gradient_with_a_graph_holds_what_the_second_derivative_needs():
    """y = x^3 as x * x * x: the first product keeps x (8000), the second x^2 and x (8000 more). The gradient is
    discarded without ``create_graph``; with it, its own products are kept too."""
    x = weight()

    def act(create_graph):
        y = (x * x * x).sum()
        return torch.autograd.grad(y, x, create_graph=create_graph), y

    assert peak_saved(lambda: act(False)) == 16_000 < peak_saved(lambda: act(True))


def test_allocations_by_hand():
    """1000 doubles are 8000 bytes. x^2 x holds the square while the product is made; of a loop, two temporaries and the
    result of the turn before. What was there before, and what is let go, do not count."""
    x = torch.ones(1000, dtype=torch.float64)

    def turns():
        y = None
        for _ in range(10):
            y = (x * x).tanh()
        return y

    assert peak_allocated(lambda: x * x) == 8000
    assert peak_allocated(lambda: (x * x) * x) == 16_000
    assert peak_allocated(lambda: [x * x for _ in range(5)]) == 40_000
    assert peak_allocated(turns) == 24_000
    assert peak_allocated(lambda: x.view(10, 100)) == 0


def test_what_autograd_holds_is_allocated_too():
    """Each of five links of a chain keeps its result, and x itself is new."""

    def chain():
        x = weight()
        for _ in range(5):
            x = x.tanh()
        return x

    assert peak_allocated(chain) == peak_saved(chain) + 8000
