"""The loss while a task is learned: by hand, against MAML that takes as many steps, and at its limits."""

import pytest
import torch
from torch import nn

from metabook.episode import Episode, Examples
from metabook.learning_curve import learning_curve
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4
from metabook.optimization import MAML

B, S, Q = 3, 4, 6


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episode(x_shape=(2,), outputs=1):
    return Episode(*(Examples(draw(B, n, *x_shape, seed=n), draw(B, n, outputs, seed=10 * n)) for n in (S, Q)))


def network():
    torch.manual_seed(0)
    return MLP(2, 1, hidden=(5,)).double()


def line(w):
    """y = w x, one weight."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, w)
    return net


def points(*pairs):
    x, y = torch.tensor(pairs, dtype=torch.float64).T
    return Examples(x[:, None, None], y[:, None, None])


def test_by_hand():
    """y = w x from w = 1, two tasks with support (1, 2) and (1, 3), query (2, 4) and (2, 6): the weights 2 and 3 are
    right. L_S = (w - c)^2, so a step of rate 0.25 halves the distance to c = 2 or 3: after t steps it is
    (c - 1) / 2^t, and the query loss is 4 (c - 1)^2 / 4^t: 4 and 16 at first, 1 and 4 after one step, 1/16 and 1/4
    after three."""
    tasks = Episode(points((1, 2), (1, 3)), points((2, 4), (2, 6)))
    values = learning_curve(line(1.0), Regression(), tasks, lr=0.25, at=[0, 1, 3])
    assert values.tolist() == [pytest.approx([4, 16]), pytest.approx([1, 4]), pytest.approx([1 / 16, 1 / 4])]


def test_every_point_is_the_query_loss_of_as_many_steps():
    """MAML with t inner steps, one task at a time, scores the same: the curve is that of adaptation."""
    net, tasks = network(), episode()
    values = learning_curve(net, Regression(), tasks, lr=0.05, at=range(5))
    assert values.shape == (5, B) and not values.requires_grad
    for t in range(5):
        learner = MAML(net, Regression(), inner_lr=0.05, inner_steps=t)
        each = torch.stack([learner.meta_loss(tasks.task(i)) for i in range(B)])
        torch.testing.assert_close(values[t], each.detach(), rtol=1e-12, atol=0)


def test_only_the_points_asked_for():
    net, tasks = network(), episode()
    every = learning_curve(net, Regression(), tasks, lr=0.05, at=range(8))
    some = learning_curve(net, Regression(), tasks, lr=0.05, at=[0, 2, 7])
    torch.testing.assert_close(some, every[[0, 2, 7]], rtol=1e-12, atol=0)


def test_the_network_and_the_gradients_stay_as_they_are():
    net, tasks = network(), episode()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    learning_curve(net, Regression(), tasks, lr=0.05, at=[3])
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_a_rate_of_its_own_for_each_weight():
    """With rate 0 for all but the last layer the first one stays: the curve is that of a network with it frozen."""
    net, tasks = network(), episode()
    rates = {k: torch.full_like(p, 0.05 if k.startswith("layers.1") else 0.0) for k, p in net.named_parameters()}
    values = learning_curve(net, Regression(), tasks, lr=rates, at=[0, 4])
    net.layers[0].requires_grad_(False)
    torch.testing.assert_close(values, learning_curve(net, Regression(), tasks, lr=0.05, at=[0, 4]))
    assert bool((values[0] != values[1]).all())


@pytest.mark.parametrize("chunk", [1, 2])
def test_chunks_change_nothing(chunk):
    torch.manual_seed(0)
    net, tasks = Conv4(1, 1, width=4, size=16).double(), episode((1, 16, 16))
    values = learning_curve(net, Regression(), tasks, lr=0.1, at=[0, 2], chunk=chunk)
    torch.testing.assert_close(values, learning_curve(net, Regression(), tasks, lr=0.1, at=[0, 2], chunk=B))


def test_another_measure():
    """The fraction of queries that are wrong, from a network whose logits are the two inputs: argmax x against y."""
    net = nn.Linear(2, 2, bias=False)
    nn.init.eye_(net.weight)
    x = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]]])
    tasks = Episode(*(Examples(x, torch.tensor([[0, 1, 1, 1]])) for _ in range(2)))

    def wrong(outputs, y):
        return (outputs.argmax(-1) != y).double().mean(1)

    assert learning_curve(net, Classification(2), tasks, lr=0.1, at=[0], measure=wrong).tolist() == [[0.25]]


def test_a_task_that_diverges_counts_as_infinite():
    """Rate 1e3 multiplies the distance by 1 - 2000 at each step: 1e308 is passed within a hundred."""
    tasks = Episode(points((1, 2), (0, 0)), points((2, 4), (2, 2)))
    values = learning_curve(line(1.0), Regression(), tasks, lr=1e3, at=[0, 200])
    assert values[0].tolist() == [4, 0] and values[1].tolist() == [float("inf"), 0]


def test_the_dtype_is_that_of_the_network():
    tasks = episode()
    assert learning_curve(network(), Regression(), tasks, lr=0.1, at=[1]).dtype == torch.float64
    single = learning_curve(network().float(), Regression(), tasks.to(dtype=torch.float32), lr=0.1, at=[1])
    assert single.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": []}, r"at: \[\] given; one or more numbers of steps in increasing order"),
        ({"at": [2, 2]}, r"at: \[2, 2\] given; one or more"),
        ({"at": [-1]}, r"at: -1 given; at least 0"),
        ({"lr": 0.0}, r"lr: 0.0 given; a finite number above 0"),
        ({"chunk": -1}, r"chunk: -1 given; at least 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        learning_curve(network(), Regression(), episode(), **{"lr": 0.1, "at": [1], **options})
