"""The layers with a task dimension against torch's own layers, one task after the other.

Values, gradients and second derivatives, with every combination of shared weights and weights of a task's own.
"""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metabook.nn import Conv2d, GroupNorm, Linear, MaxPool2d, TaskBatchNorm
from metabook.nn.batch_norm import batch_norm

B, S = 3, 4
# name: (ours, torch's for one task, shape of an example)
LAYERS = {
    "Linear": (lambda: Linear(5, 2), lambda: nn.Linear(5, 2), (5,)),
    "Linear without bias": (lambda: Linear(5, 2, bias=False), lambda: nn.Linear(5, 2, bias=False), (5,)),
    "Conv2d": (lambda: Conv2d(2, 4, 3), lambda: nn.Conv2d(2, 4, 3), (2, 5, 6)),
    "Conv2d of one channel": (lambda: Conv2d(1, 2, 3, padding=1), lambda: nn.Conv2d(1, 2, 3, padding=1), (1, 4, 4)),
    "Conv2d with every option": (
        lambda: Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False),
        lambda: nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False),
        (2, 5, 6),
    ),
    "Conv2d in groups": (lambda: Conv2d(4, 4, 2, groups=2), lambda: nn.Conv2d(4, 4, 2, groups=2), (4, 3, 3)),
    "TaskBatchNorm of images": (
        lambda: TaskBatchNorm(2),
        lambda: nn.BatchNorm2d(2, track_running_stats=False),
        (2, 3, 3),
    ),
    "TaskBatchNorm of vectors": (
        lambda: TaskBatchNorm(5, eps=0.1),
        lambda: nn.BatchNorm1d(5, track_running_stats=False, eps=0.1),
        (5,),
    ),
    "GroupNorm": (lambda: GroupNorm(2, 4, eps=0.1), lambda: nn.GroupNorm(2, 4, eps=0.1), (4, 3, 3)),
    "MaxPool2d": (lambda: MaxPool2d(2), lambda: nn.MaxPool2d(2), (2, 5, 4)),
    "MaxPool2d of three": (lambda: MaxPool2d(3), lambda: nn.MaxPool2d(3), (1, 7, 6)),
}
every = pytest.mark.parametrize("name", LAYERS)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def own_weights():
    """Name of a layer, and which of its weights are a task's own."""
    for name, (ours, *_) in LAYERS.items():
        weights = [k for k, _ in ours().named_parameters()]
        for own in itertools.product([False, True], repeat=len(weights)):
            chosen = [k for k, yes in zip(weights, own, strict=True) if yes]
            yield pytest.param(name, chosen, id=f"{name}, own {' and '.join(chosen) or 'nothing'}")


def looped(layer, phi, x):
    return torch.stack(
        [
            functional_call(layer, {k: v[b] if v.dim() > p.dim() else v for k, p, v in paired(layer, phi)}, (x[b],))
            for b in range(len(x))
        ]
    )


def paired(layer, phi):
    return [(k, p, phi[k]) for k, p in layer.named_parameters()]


def derivatives(out, phi, x, twice):
    """First derivatives of a weighted sum of squares, and if asked, derivatives of a weighted sum of those."""
    leaves = [x, *phi.values()]
    first = torch.autograd.grad(
        (out.square() * draw(*out.shape, seed=5).to(out.device)).sum(), leaves, create_graph=True
    )
    if not twice:
        return first
    again = sum((g * draw(*g.shape, seed=6 + i).to(out.device)).sum() for i, g in enumerate(first))
    return torch.autograd.grad(again, leaves)


@pytest.mark.parametrize(("name", "own"), list(own_weights()))
def test_values_and_both_derivatives_are_those_of_a_loop_over_torchs_layer(name, own, device):
    ours, theirs, shape = LAYERS[name]
    ours, theirs = ours().double().to(device), theirs().double().to(device)
    x = draw(B, S, *shape, seed=1).to(device).requires_grad_()
    phi = {
        k: (draw(B, *p.shape, seed=9 + i) if k in own else draw(*p.shape, seed=9 + i)).to(device).requires_grad_()
        for i, (k, p) in enumerate(ours.named_parameters())
    }
    out, expected = functional_call(ours, phi, (x,)), looped(theirs, phi, x)
    close(out, expected)
    for twice in (False, True):
        for a, b in zip(derivatives(out, phi, x, twice), derivatives(expected, phi, x, twice), strict=True):
            close(a, b)


@every
def test_nothing_leaks_from_one_task_into_another(name):
    ours, _, shape = LAYERS[name]
    layer, x = ours().double(), draw(B, S, *shape)
    phi = {k: draw(B, *p.shape, seed=2) for k, p in layer.named_parameters()}
    other = x.clone()
    other[1] = draw(S, *shape, seed=3)
    before, after = (functional_call(layer, phi, (v,)) for v in (x, other))
    assert torch.equal(before[[0, 2]], after[[0, 2]]) and not torch.allclose(before[1], after[1])


@every
def test_only_batch_norm_lets_the_examples_of_a_task_see_each_other(name):
    ours, _, shape = LAYERS[name]
    layer, x = ours().double(), draw(B, S, *shape)
    other = x.clone()
    other[:, 0] = draw(B, *shape, seed=3)
    difference = (layer(x)[:, 1:] - layer(other)[:, 1:]).abs().max().item()
    assert (difference > 1e-6) == ("TaskBatchNorm" in name)
    assert difference > 1e-6 or difference < 1e-12


@every
def test_nothing_is_written_to_a_layer(name):
    ours, _, shape = LAYERS[name]
    layer = ours().double()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    layer(draw(B, S, *shape))
    after = layer.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[k], v) for k, v in before.items())


def test_fresh_layers_start_as_torchs_do():
    for ours, theirs in ((TaskBatchNorm(3), nn.BatchNorm2d(3)), (GroupNorm(1, 3), nn.GroupNorm(1, 3))):
        assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
        assert ours.eps == theirs.eps


@pytest.mark.parametrize("shape", [(2, 1, 4), (2, 1, 4, 1, 1)])
def test_one_value_has_no_variance(shape):
    with pytest.raises(
        ValueError, match=r"^x: shape \[2, 1, 4.*\] has one value per channel and task; .* at least 2, "
    ):
        TaskBatchNorm(4)(torch.rand(shape))
    assert TaskBatchNorm(4)(torch.rand(2, 2, 4)).shape == (2, 2, 4)
    assert TaskBatchNorm(4)(torch.rand(2, 1, 4, 1, 2)).shape == (2, 1, 4, 1, 2)


def test_errors():
    with pytest.raises(ValueError, match=r"^groups: 3 given; it must divide the 4 channels$"):
        GroupNorm(3, 4)
    with pytest.raises(ValueError, match=r"^padding_mode: 'reflect' given; metabook\.nn\.Conv2d allows 'zeros' only$"):
        Conv2d(1, 1, 3, padding=1, padding_mode="reflect")(torch.rand(1, 1, 1, 4, 4))


# The package's own derivative of batch normalisation.


def inputs(n=3, c=2, h=2, w=2):
    shapes = ((n, c, h, w), (c,), (c,))
    return tuple(draw(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes))


@pytest.mark.parametrize("size", [(3, 2, 2, 2), (5, 3, 1, 1), (1, 1, 2, 3), (2, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_own_batch_norm_first_and_second_derivatives_by_central_differences(size, eps):
    """Every input's derivative, and the derivative of every derivative. Variances near zero need the larger eps."""
    eps = 0.5 if size == (2, 1, 1, 1) else eps

    def fn(x, weight, bias):
        return batch_norm(x, weight, bias, eps)

    assert torch.autograd.gradcheck(fn, inputs(*size))
    assert torch.autograd.gradgradcheck(fn, inputs(*size))


@pytest.mark.parametrize("free", [[0], [1], [2], [0, 1], [1, 2]], ids=str)
def test_own_batch_norm_with_some_inputs_constant(free):
    values = tuple(v.detach().requires_grad_(i in free) for i, v in enumerate(inputs()))

    def fn(*args):
        return batch_norm(*args, 1e-5)

    assert torch.autograd.gradcheck(fn, values)
    assert torch.autograd.gradgradcheck(fn, values)


def test_own_batch_norm_is_torchs(device):
    x, weight, bias = (v.to(device) for v in inputs(4, 3, 5, 2))
    close(batch_norm(x, weight, bias, 1e-3), F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-3))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_own_batch_norm_in_float32_of_many_values_is_right_to_six_digits(layout, device):
    """400,000 values a channel, half of them the same, as paper is. Added up one by one in float32, as torch does for
    channels-last images on a CPU, mean and variance are wrong in the fourth digit, and so is the gradient."""
    x = 1 + 0.3 * draw(500, 2, 28, 28)
    x[..., :14] = 1.2345
    w, b, v = torch.ones(2, dtype=x.dtype), torch.zeros(2, dtype=x.dtype), draw(500, 2, 28, 28, seed=1)

    def both(dtype):
        leaf = x.to(device, dtype).contiguous(memory_format=layout).requires_grad_()
        y = batch_norm(leaf, w.to(device, dtype), b.to(device, dtype), 1e-5)
        return y.detach().double(), torch.autograd.grad(y, leaf, v.to(device, dtype))[0].double()

    for ours, right in zip(both(torch.float32), both(torch.float64), strict=True):
        assert (ours - right).norm() < 3e-6 * right.norm()


def test_own_batch_norm_by_hand():
    """Values 1 and 3: mean 2, variance 1. With eps 0, weight 2 and bias 1: 2 * (-1) + 1 = -1 and 2 * 1 + 1 = 3."""
    x = torch.tensor([1.0, 3.0], dtype=torch.float64).view(2, 1, 1, 1)
    two = torch.full((1,), 2.0, dtype=torch.float64)
    assert batch_norm(x, two, two / 2, 0.0).flatten().tolist() == pytest.approx([-1.0, 3.0], abs=1e-14)


def test_own_batch_norm_under_the_transforms_of_torch_func_is_the_same():
    """Hessian-vector products by torch.func and by plain autograd."""
    x, weight, bias = (v.detach() for v in inputs())
    target, direction = draw(*x.shape, seed=7), draw(*x.shape, seed=8)

    def loss(v):
        return ((batch_norm(v, weight, bias, 1e-5) - target) ** 4).sum()

    by_func = torch.func.grad(lambda v: (torch.func.grad(loss)(v) * direction).sum())(x)
    leaf = x.clone().requires_grad_()
    first = torch.autograd.grad(loss(leaf), leaf, create_graph=True)[0]
    close(by_func, torch.autograd.grad((first * direction).sum(), leaf)[0])
    mapped = torch.func.vmap(torch.func.grad(lambda v: (torch.func.grad(loss)(v) * direction).sum()))(
        x.expand(2, *x.shape)
    )
    close(mapped, by_func.expand(2, *x.shape))


def third(gradient, loss, x, directions):
    """The third derivative of a loss along two directions, by ``gradient(function, at)``."""
    for direction in directions:
        loss = slope(gradient, loss, direction)
    return gradient(loss, x)


def slope(gradient, loss, direction):
    return lambda v: (gradient(loss, v) * direction).sum()


def test_own_batch_norm_third_derivatives_are_exact_under_torch_func():
    """Against central differences of second derivatives, which other tests hold."""
    x, weight, bias = (v.detach() for v in inputs())
    directions, step = [draw(*x.shape, seed=i) for i in (7, 8)], 1e-5
    target = draw(*x.shape, seed=9)

    def loss(v):
        return ((batch_norm(v, weight, bias, 1e-5) - target) ** 2).sum()

    def gradient(fn, v):
        return torch.func.grad(fn)(v)

    ours = third(gradient, loss, x, directions)
    ends = [third(gradient, loss, x + sign * step * directions[1], directions[:1]) for sign in (1, -1)]
    close(ours, (ends[0] - ends[1]) / (2 * step), tolerance=1e-6)


@pytest.mark.parametrize("power", [1, 3])
def test_own_batch_norm_refuses_a_third_derivative_rather_than_give_a_wrong_one(power):
    x, weight, bias = inputs()
    directions = [draw(*x.shape, seed=i) for i in (7, 8)]

    def loss(v):
        return (batch_norm(v, weight, bias, 1e-5) ** power * directions[0]).sum()

    def gradient(fn, v):
        return torch.autograd.grad(fn(v), v, create_graph=True)[0]

    with pytest.raises(RuntimeError, match=r"^batch_norm: a third derivative is asked for; take it with torch\.func"):
        third(gradient, loss, x, directions)
