"""What is special to convolutional conditional neural processes: they move with their inputs."""

import math

import pytest
import torch

from metabook.episode import Episode, Examples
from metabook.generative import CNP, ConvCNP
from metabook.likelihood import Regression
from metabook.nn import MLP, GridNet, SetConv
from metabook.nn.set_conv import grid_around
from metabook.registry import build


def model(per_unit=4, dilations=(1, 2, 4)):
    torch.manual_seed(0)
    net = GridNet(2, width=6, dilations=dilations)
    return ConvCNP(net, MLP(6, 2, hidden=(5,)), Regression(), per_unit=per_unit).double()


def draw(b=3, s=5, q=7, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = 4 * torch.rand(b, n, 1, generator=generator, dtype=torch.float64) - 2
        return Examples(x, torch.sin(3 * x))

    return Episode(part(s), part(q))


def moved(episode, by):
    return Episode(*(Examples(p.x + by, p.y) for p in episode))


def close(a, b, tolerance):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_set_convolution_by_hand():
    """Points 0 and 1 with values 2 and 4, length-scale 1, on the grid point 0: density 1 + e^-1/2, mean
    (2 + 4 e^-1/2) / (density + 1e-5). Far away, at 30, the density and the mean vanish."""
    layer = SetConv(1.0).double()
    x, y = torch.tensor([[0.0, 1.0]]).double(), torch.tensor([[[2.0], [4.0]]]).double()
    found = layer.to_grid(torch.tensor([[0.0, 30.0]]).double(), x, y)[0]
    e = math.exp(-0.5)
    assert found[0].tolist() == pytest.approx([1 + e, (2 + 4 * e) / (1 + e + 1e-5)], rel=1e-6)
    assert found[1].abs().max() < 1e-100


def test_reading_the_grid_by_hand():
    """Values 1 and 3 at the grid points 0 and 1, read at 0: (1 + 3 e^-1/2) / (1 + e^-1/2)."""
    layer, e = SetConv(1.0).double(), math.exp(-0.5)
    values = torch.tensor([[[1.0], [3.0]]]).double()
    found = layer.from_grid(torch.tensor([[0.0, 1.0]]).double(), values, torch.zeros(1, 1).double())
    assert found.item() == pytest.approx((1 + 3 * e) / (1 + e), rel=1e-6)


def test_the_grid_by_hand():
    """Spacing 1/2, points 0.6 and 1.4: from floor(1.2) = 1 to ceil(2.8) = 3 steps, and one more on either side."""
    assert grid_around(torch.tensor([[0.6, 1.4]]), 0.5, 1).tolist() == [[0.0, 0.5, 1.0, 1.5, 2.0]]
    with pytest.raises(ValueError, match=r"query_x: a range of 100000 given; 0.5 apart that is over 20000 points"):
        grid_around(torch.tensor([[0.0, 1e5]]), 0.5, 1)


def test_the_grid_network_sees_as_far_as_it_says():
    net = GridNet(1, width=4, dilations=(1, 3)).double()
    x = torch.randn(1, 40, 1).double().requires_grad_()
    out = net(x)
    assert net.reach == 8 and out.shape == (1, 40 - 2 * 8, 4)
    (seen,) = torch.autograd.grad(out[0, 10].sum(), x)
    assert set(seen[0, :, 0].nonzero().flatten().tolist()) <= set(range(10, 27))


@pytest.mark.parametrize("by", [0.1, -math.pi, 7.0, 1234.5678])
def test_a_shift_of_all_inputs_changes_no_prediction(by):
    """By any amount, not only whole grid steps. What is left is the rounding of x + shift."""
    learner, episode = model(), draw()
    before, after = learner(episode), learner(moved(episode, by))
    close(after.mean, before.mean, 1e-10)
    close(after.stddev, before.stddev, 1e-10)


def test_a_cnp_has_no_such_symmetry():
    torch.manual_seed(0)
    learner = CNP(MLP(2, 6), MLP(7, 2), Regression()).double()
    episode = draw()
    assert (learner(moved(episode, 1.0)).mean - learner(episode).mean).abs().max() > 1e-3


def test_a_shift_of_the_support_set_alone_matters():
    learner, (support, query) = model(), draw()
    other = learner(Episode(Examples(support.x + 0.1, support.y), query)).mean
    assert (other - learner(Episode(support, query)).mean).abs().max() > 1e-4


def test_queries_far_away_extend_the_grid_and_change_nothing_else():
    learner, (support, query) = model(), draw()
    far = torch.tensor([-40.0, 55.5]).double().expand(3, 2).unsqueeze(-1)
    wide = learner.predict(learner.adapt(support), torch.cat([query.x, far], 1))
    close(wide.mean[:, :-2], learner(Episode(support, query)).mean, 1e-9)
    # out there nothing is known, and all places are alike
    close(wide.mean[:, -2], wide.mean[:, -1], 1e-9)
    close(wide.stddev[:, -2], wide.stddev[:1, -1].expand(3, 1), 1e-9)


def test_a_finer_grid_with_the_same_width_of_weights_gives_nearly_the_same_density():
    """The set convolution itself knows no grid: its values at a place do not depend on the other places."""
    layer, (support, _) = SetConv(0.3).double(), draw()
    grid = torch.linspace(-3, 3, 13).double().expand(3, -1)
    fine = torch.linspace(-3, 3, 25).double().expand(3, -1)
    values = layer.to_grid(grid, support.x.squeeze(-1), support.y)
    close(layer.to_grid(fine, support.x.squeeze(-1), support.y)[:, ::2], values, 1e-12)


def test_it_is_for_inputs_on_a_line():
    learner = model()
    x = torch.zeros(2, 3, 4).double()
    with pytest.raises(ValueError, match=r"support.x: inputs of shape \[4\] given; a ConvCNP needs inputs on a line"):
        learner.adapt(Examples(x, x[..., :1]))
    with pytest.raises(ValueError, match=r"query_x: inputs of shape \[4\] given"):
        learner.predict(learner.adapt(draw(2).support), x)

    class Images:
        likelihood, x_shape = Regression(), (1, 28, 28)

    with pytest.raises(ValueError, match=r"x_shape: \[1, 28, 28\] given; conv-cnp needs inputs on a line, \[1\]"):
        build("conv-cnp", Images())
