"""CKA against numbers by hand and its defining formula, and the reading of layers."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from metabook.mapping import run
from metabook.nn import MLP, Conv4
from metabook.similarity import linear_cka, representations

A = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64)
C = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]], dtype=torch.float64)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cka_by_hand():
    """a and c are centred and orthogonal, of squared length 4: CKA(a, c) = 0 and CKA(a, a) = 1.

    With K = a a^T and L = a a^T + c c^T: <K, L> = 16, |K| = 4, |L| = sqrt(32). So CKA(a, [a c]) = 4 / sqrt(32).
    With twice the second feature L = a a^T + 4 c c^T: 16 / (4 sqrt(16 + 256)) = 1 / sqrt(17).
    """
    assert linear_cka(A, A).item() == pytest.approx(1, abs=1e-15)
    assert linear_cka(A, C).item() == pytest.approx(0, abs=1e-15)
    assert linear_cka(A, torch.cat([A, C], 1)).item() == pytest.approx(4 / math.sqrt(32), abs=1e-15)
    assert linear_cka(A, torch.cat([A, 2 * C], 1)).item() == pytest.approx(1 / math.sqrt(17), abs=1e-15)


def test_cka_is_the_formula_with_feature_covariances():
    """|Y^T X|^2 / (|X^T X| |Y^T Y|) in Frobenius norms, centred, entry by entry."""
    x, y = draw(7, 3), draw(7, 2, seed=1)
    x0, y0 = x - x.mean(0), y - y.mean(0)

    def frobenius(m):
        return math.sqrt(sum(float(v) ** 2 for row in m for v in row))

    expected = frobenius(y0.T @ x0) ** 2 / (frobenius(x0.T @ x0) * frobenius(y0.T @ y0))
    assert linear_cka(x, y).item() == pytest.approx(expected, abs=1e-13)
    assert linear_cka(y, x).item() == pytest.approx(expected, abs=1e-13)


def test_rotation_mirroring_shift_and_scale_change_nothing():
    x, y = draw(9, 4), draw(9, 4, seed=1) + draw(9, 4)
    q, _ = torch.linalg.qr(draw(4, 4, seed=2))
    expected = linear_cka(x, y)
    for other in (y @ q, y @ q * torch.tensor([-1, 1, 1, 1.0]), 1e-9 * y, -1e9 * y, y + 5):
        torch.testing.assert_close(linear_cka(x, other), expected, rtol=1e-9, atol=0)
    assert linear_cka(x, x @ q + 3).item() == pytest.approx(1, abs=1e-12)


def test_another_linear_map_does_change_it():
    x = draw(9, 3)
    assert linear_cka(x, x @ torch.diag(torch.tensor([1.0, 10, 100], dtype=x.dtype))) < 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tasks_are_compared_one_by_one(dtype):
    x, y = draw(2, 5, 6, 3).to(dtype), draw(2, 5, 6, 4, seed=1).to(dtype)
    together = linear_cka(x, y)
    assert together.shape == (2, 5) and together.dtype == dtype
    alone = torch.stack([torch.stack([linear_cka(x[i, j], y[i, j]) for j in range(5)]) for i in range(2)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(linear_cka(1e-12 * x, 1e12 * y), together)  # fourth powers stay in range


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (draw(5, 2), draw(4, 2), r"y: shape \[4, 2\] given; \[..., n, d2\] is needed, n examples as in x, \[5, 2\]"),
        (draw(5), draw(5), r"y: shape \[5\] given"),
        (torch.full((5, 2), 0.1), draw(5, 2), "x: the features of all 5 examples are the same, or not finite"),
        (draw(1, 2), draw(1, 2), "x: the features of all 1 examples are the same"),
        (draw(2, 5, 2), torch.stack([draw(5, 2), torch.zeros(5, 2)]), "y: the features of all 5 examples are the same"),
        (draw(5, 2), draw(5, 2) / 0, "y: .*or not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        linear_cka(x, y)


NETS = {
    "MLP": (lambda: MLP(2, 3, hidden=(5, 4)), (2,), ["layers.0", "layers.1", "layers.2"]),
    "Conv4": (lambda: Conv4(1, 3, width=4, size=16, blocks=2), (1, 16, 16), None),
    "own": (lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)), (2,), ["0", "1", "2"]),
}


def stacked(net, tasks):
    return {k: p.detach() + 0.1 * draw(tasks, *p.shape, seed=i) for i, (k, p) in enumerate(net.named_parameters())}


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_the_last_layer_is_what_the_network_puts_out(name, adapted):
    net = NETS[name][0]().double()
    x = draw(3, 6, *NETS[name][1])
    phi = stacked(net, 3) if adapted else None
    layers = representations(net, x, phi)
    assert NETS[name][2] is None or list(layers) == NETS[name][2]
    assert all(v.dim() == 3 and v.shape[:2] == (3, 6) and not v.requires_grad for v in layers.values())
    torch.testing.assert_close(list(layers.values())[-1], run(net, x, phi).detach())
    assert not any(m._forward_hooks for m in net.modules())


def test_every_layer_is_that_of_the_task_alone():
    """By hand for an MLP: pre-activations are what its modules put out."""
    net, x = MLP(2, 3, hidden=(5,)).double(), draw(3, 6, 2)
    phi = stacked(net, 3)
    layers = representations(net, x, phi)
    for b in range(3):
        w1, b1, w2, b2 = (v[b] for v in phi.values())
        torch.testing.assert_close(layers["layers.0"][b], x[b] @ w1.T + b1)
        torch.testing.assert_close(layers["layers.1"][b], (x[b] @ w1.T + b1).relu() @ w2.T + b2)


def test_a_block_of_images_is_flat_and_normalised_within_its_task():
    net, x = Conv4(1, 3, width=4, size=16, blocks=2).double(), draw(2, 6, 1, 16, 16)
    phi = stacked(net, 2)
    block = representations(net, x, phi, layers=["features.3"])["features.3"]
    assert block.shape == (2, 6, 4 * 8 * 8)
    first = nn.Sequential(*net.features[:4])
    weights = {k.removeprefix("features."): v[1:] for k, v in phi.items() if k.startswith(("features.0", "features.1"))}
    torch.testing.assert_close(block[1], functional_call(first, weights, (x[1:],))[0].flatten(1).detach())


def test_an_unknown_layer_is_named():
    with pytest.raises(ValueError, match=r"layers: 'conv1' given; allowed are layers, layers.0, layers.1, layers.2"):
        representations(MLP(1, 1), torch.zeros(1, 2, 1), layers=["conv1"])
