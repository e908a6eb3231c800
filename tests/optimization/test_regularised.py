"""Joint loss, MAML's loss and a penalty in one sum: by hand, against a slow reference, and each term alone."""

import pytest
import torch
from torch import nn

from metabook.baselines import Joint
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4, Linear
from metabook.optimization import MAML, RegularisedMAML

B = 3


def by_hand(**options):
    """y = w x with w = 1, support (x, y) = (1, 2), query (2, 3); inner rate 0.1."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(net.weight)
    point = [torch.full((1, 1, 1), v, dtype=torch.float64) for v in (1.0, 2.0, 2.0, 3.0)]
    episode = Episode(Examples(*point[:2]), Examples(*point[2:]))
    return RegularisedMAML(net, Regression(), inner_lr=0.1, **options), episode


def test_by_hand_every_term():
    """L_task = ((1 - 2)^2 + (2 - 3)^2) / 2 = 1, its gradient (2 * 1 * (-1) + 2 * 2 * (-1)) / 2 = -3.

    L_maml: w' = 1 + 0.1 * 2 = 1.2, loss (2.4 - 3)^2 = 0.36, gradient 2 * 2 * (-0.6) * (1 - 0.1 * 2) = -1.92.
    |w|^2 = 1, gradient 2. With weights 0.5, 2 and 3: 0.5 + 0.72 + 3 = 4.22 and -1.5 - 3.84 + 6 = 0.66.
    """
    learner, episode = by_hand(task_weight=0.5, maml_weight=2.0, penalty="l2", penalty_weight=3.0)
    loss = learner.meta_loss(episode)
    assert loss.item() == pytest.approx(4.22, abs=1e-14)
    assert torch.autograd.grad(loss, learner.net.weight)[0].item() == pytest.approx(0.66, abs=1e-14)


# The slow reference: lists of tensors, a loop over tasks, one over steps, and one over paths.


def forward(weights, x):
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = torch.relu(x @ w.T + b)
    return x @ weights[-2].T + weights[-1]


def task_loss(out, y):
    if y.is_floating_point():
        return ((out - y) ** 2).sum() / len(y)
    return -sum(torch.log_softmax(row, 0)[c] for row, c in zip(out, y, strict=True)) / len(y)


def all_paths(weights):
    """Paths of the two-layer network, added one by one; a bias is a path of its own."""
    w1, b1, w2, b2 = weights
    total = sum(b**2 for b in b2)
    for o in range(len(w2)):
        for h in range(len(w1)):
            total = total + b1[h] ** 2 * w2[o, h] ** 2
            for i in range(w1.shape[1]):
                total = total + w1[h, i] ** 2 * w2[o, h] ** 2
    return total


def reference(theta, episode, *, steps, maml_weight, task_weight, penalty, penalty_weight, first_order=False):
    total = 0.0
    for b in range(B):
        support, query = (Examples(part.x[b], part.y[b]) for part in episode)
        weights = list(theta)
        for _ in range(steps):
            loss = task_loss(forward(weights, support.x), support.y)
            grads = torch.autograd.grad(loss, weights, create_graph=not first_order)
            weights = [w - 0.1 * g for w, g in zip(weights, grads, strict=True)]
        x, y = torch.cat([support.x, query.x]), torch.cat([support.y, query.y])
        plain = task_loss(forward(theta, x), y)
        total = total + (maml_weight * task_loss(forward(weights, query.x), query.y) + task_weight * plain) / B
    omega = all_paths(theta) if penalty == "path" else sum((p**2).sum() for p in theta) if penalty == "l2" else 0.0
    return total + penalty_weight * omega


def draw(kind, *, shape=(2,), seed=0):
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        x = torch.randn(B, n, *shape, generator=generator, dtype=torch.float64)
        if kind is Classification:
            return Examples(x, torch.arange(n).expand(B, -1) % 3)
        return Examples(x, torch.randn(B, n, 3, generator=generator, dtype=torch.float64))

    return Episode(part(4), part(5))


def mlp(seed=0):
    torch.manual_seed(seed)
    return MLP(2, 3, hidden=(4,)).double()


def value_and_gradient(loss, learner):
    return [loss.detach(), *torch.autograd.grad(loss, list(learner.parameters()))]


def close(ours, theirs, tolerance=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("penalty", ["none", "l2", "path"])
@pytest.mark.parametrize(("maml_weight", "task_weight"), [(1.0, 0.0), (0.0, 1.0), (0.7, 1.3)])
def test_loss_and_gradient_are_those_of_the_slow_reference(kind, penalty, maml_weight, task_weight, device):
    options = {"maml_weight": maml_weight, "task_weight": task_weight, "penalty": penalty}
    options["penalty_weight"] = 0.0 if penalty == "none" else 0.05
    learner = RegularisedMAML(mlp(), kind(3), inner_lr=0.1, inner_steps=2, **options).to(device)
    episode = draw(kind).to(device)
    expected = reference(list(learner.parameters()), episode, steps=2, **options)
    close(value_and_gradient(learner.meta_loss(episode), learner), value_and_gradient(expected, learner))


def test_first_order_leaves_out_the_second_derivatives_and_nothing_else():
    options = {"maml_weight": 0.7, "task_weight": 1.3, "penalty": "path", "penalty_weight": 0.05}
    learner = RegularisedMAML(mlp(), Regression(3), inner_lr=0.1, inner_steps=2, first_order=True, **options)
    episode = draw(Regression)
    expected = reference(list(learner.parameters()), episode, steps=2, first_order=True, **options)
    close(value_and_gradient(learner.meta_loss(episode), learner), value_and_gradient(expected, learner))


class Smooth(nn.Module):
    """A tiny network without kinks from layers that take stacked weights."""

    takes_tasks = True

    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(2, 3), Linear(3, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Loss(nn.Module):
    """The meta-loss as a forward pass, which functional_call can call at other parameters."""

    def __init__(self, learner, episode):
        super().__init__()
        self.learner, self.episode = learner, episode

    def forward(self):
        return self.learner.meta_loss(self.episode)


@pytest.mark.parametrize(("net", "penalty"), [(Smooth, "l2"), (mlp, "path")])
def test_gradcheck_of_the_meta_loss(net, penalty):
    torch.manual_seed(0)
    learner = RegularisedMAML(
        net().double(), Regression(3), inner_lr=0.1, inner_steps=2, penalty=penalty, penalty_weight=0.1
    )
    names, parameters = zip(*learner.named_parameters(), strict=True)
    episode = draw(Regression)

    def meta_loss(*values):
        weights = {f"learner.{name}": v for name, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(learner, episode), weights, ())

    assert torch.autograd.gradcheck(meta_loss, [p.detach().clone().requires_grad_() for p in parameters])


# One term alone is the system that has it.

NETS = {
    "MLP": (mlp, (2,)),
    "Conv4": (lambda: Conv4(1, 3, width=3, size=16).double(), (1, 16, 16)),
    "own": (lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double(), (2,)),
}


def same(name, kind, ours, theirs):
    """Loss, gradient and predictions of two learners with the same weights, to the last bit."""
    learners = []
    for build in (ours, theirs):
        torch.manual_seed(0)
        learners.append(build(NETS[name][0]()))
    episode = draw(kind, shape=NETS[name][1])
    results = []
    for learner in learners:
        prediction = learner(episode)
        shown = prediction.probs if kind is Classification else prediction.mean
        results.append([*value_and_gradient(learner.meta_loss(episode), learner), shown])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("first_order", [False, True])
def test_the_maml_loss_alone_is_maml(name, kind, first_order):
    options = {"inner_lr": 0.1, "inner_steps": 2, "first_order": first_order}
    same(
        name,
        kind,
        lambda net: RegularisedMAML(net, kind(3), maml_weight=1.0, task_weight=0.0, **options),
        lambda net: MAML(net, kind(3), **options),
    )


@pytest.mark.parametrize("kind", [Regression, Classification])
@pytest.mark.parametrize("name", NETS)
def test_the_joint_loss_alone_is_joint_training_with_fine_tuning(name, kind):
    same(
        name,
        kind,
        lambda net: RegularisedMAML(net, kind(3), maml_weight=0.0, inner_lr=0.1, inner_steps=2),
        lambda net: Joint(net, kind(3), fine_tune_lr=0.1, fine_tune_steps=2),
    )


@pytest.mark.parametrize("chunk", [1, 2])
def test_the_chunk_changes_nothing(chunk):
    episode = draw(Regression)
    parts, whole = (RegularisedMAML(mlp(), Regression(3), inner_lr=0.1, chunk=c) for c in (chunk, B))
    close(*(value_and_gradient(m.meta_loss(episode), m) for m in (parts, whole)), tolerance=1e-12)
    close([parts(episode).mean], [whole(episode).mean], tolerance=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maml_weight": -1}, ValueError, "maml_weight: -1 given; a finite number of at least 0"),
        ({"task_weight": "much"}, TypeError, "task_weight: 'much' given; a number of at least 0"),
        ({"task_weight": 0, "maml_weight": 0}, ValueError, "maml_weight, task_weight: both 0 given"),
        ({"penalty": "l1"}, ValueError, "penalty: 'l1' given; allowed are none, l2, path"),
        ({"penalty_weight": 1.0}, ValueError, "penalty_weight: 1.0 given with penalty='none'; allowed are l2, path"),
        ({"penalty_weight": float("nan"), "penalty": "l2"}, ValueError, "penalty_weight: nan given; a finite number"),
        ({"inner_lr": 0}, ValueError, "inner_lr: 0 given"),
        ({"inner_steps": -1}, ValueError, "inner_steps: -1 given"),
        ({"chunk": 0}, ValueError, "chunk: 0 given"),
    ],
)
def test_options_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        RegularisedMAML(MLP(2, 3), Regression(3), **options)


def test_networks_that_cannot_be_used_are_refused_by_name():
    with pytest.raises(ValueError, match=r"net: layer features.1 \(TaskBatchNorm\) has no path norm"):
        RegularisedMAML(Conv4(1, 2, width=2), Classification(2), penalty="path", penalty_weight=1.0)
    with pytest.raises(ValueError, match=r"net: layer 1 \(BatchNorm1d\) keeps running statistics"):
        RegularisedMAML(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), Regression(3))
