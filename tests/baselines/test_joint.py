"""Joint training: one gradient step by hand, a reference by loops, and what fine-tuning must not touch."""

import pytest
import torch
from torch import nn

from metabook.baselines.joint import Joint
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.nn import MLP, Conv4
from metabook.tasks.sinusoids import Sinusoids


def line(weight=0.0, bias=0.0):
    """y = weight x + bias as a network of one layer."""
    net = MLP(1, 1, hidden=()).double()
    with torch.no_grad():
        net.layers[0].weight.fill_(weight)
        net.layers[0].bias.fill_(bias)
    return net


def examples(x, y):
    """One task of scalar examples."""
    return Examples(*(torch.tensor(v, dtype=torch.float64).view(1, -1, 1) for v in (x, y)))


def test_one_step_by_hand():
    """Support (1, 2), line 0: loss (0 - 2)^2, both gradients -4; rate 0.1 gives 0.4 x + 0.4, 1.2 at x = 2."""
    joint = Joint(line(), Regression(), fine_tune_lr=0.1, fine_tune_steps=1)
    state = joint.adapt(examples([1.0], [2.0]))
    assert [v.item() for v in state.values()] == pytest.approx([0.4, 0.4])
    prediction = joint.predict(state, torch.tensor([[[2.0]]], dtype=torch.float64))
    assert prediction.mean.item() == pytest.approx(1.2) and prediction.batch_shape == (1, 1)


def test_training_pools_support_and_query_and_never_adapts():
    """Line 0, support (1, 2), query (3, 0) and (0, 4): mean of 4, 0, 16 is 20/3, whatever the fine-tuning."""
    batch = Episode(examples([1.0], [2.0]), examples([3.0, 0.0], [0.0, 4.0]))
    for steps in (0, 3):
        joint = Joint(line(), Regression(), fine_tune_lr=0.1, fine_tune_steps=steps)
        assert joint.meta_loss(batch).item() == pytest.approx(20 / 3)


def test_against_loops_over_tasks_and_examples():
    """Values and gradient of the meta-loss, and three fine-tuning steps, by plain loops with autograd.grad."""
    torch.manual_seed(0)
    net = MLP(1, 1, hidden=(5,)).double()
    batch = Sinusoids(shots=4, queries=3).sample(3, torch.Generator().manual_seed(0)).to(dtype=torch.float64)
    joint = Joint(net, Regression(), fine_tune_lr=0.05, fine_tune_steps=3)

    def forward(weights, x):
        w1, b1, w2, b2 = weights
        return w2 @ torch.relu(w1 @ x + b1) + b2

    theta = [p.detach().clone().requires_grad_() for p in net.parameters()]
    total, count = 0.0, 0
    for i in range(3):
        for part in batch:
            for x, y in zip(part.x[i], part.y[i], strict=True):
                total, count = total + (forward(theta, x) - y).square().sum(), count + 1
    expected = total / count
    loss = joint.meta_loss(batch)
    torch.testing.assert_close(loss, expected, atol=1e-12, rtol=0)
    gradients = torch.autograd.grad(expected, theta)
    for g, p in zip(torch.autograd.grad(loss, list(net.parameters())), gradients, strict=True):
        torch.testing.assert_close(g, p, atol=1e-12, rtol=0)

    predictions = joint(batch).mean
    for i in range(3):
        phi = theta
        for _ in range(3):
            pairs = zip(batch.support.x[i], batch.support.y[i], strict=True)
            inner = sum((forward(phi, x) - y).square().sum() for x, y in pairs) / 4
            phi = [p - 0.05 * g for p, g in zip(phi, torch.autograd.grad(inner, phi), strict=True)]
        for q, x in enumerate(batch.query.x[i]):
            torch.testing.assert_close(predictions[i, q], forward(phi, x), atol=1e-12, rtol=0)


def test_without_fine_tuning_it_is_the_network():
    net = MLP(2, 3)
    joint, x = Joint(net, Classification(3)), torch.randn(4, 5, 2)
    support = Examples(torch.randn(4, 3, 2), torch.arange(3).expand(4, 3))
    torch.testing.assert_close(joint(Episode(support, Examples(x, None))).logits, net(x).log_softmax(-1))


def test_adapting_builds_no_graph_and_leaves_the_network_alone():
    torch.manual_seed(0)
    net = MLP(1, 1)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = Joint(net, Regression(), fine_tune_steps=2).adapt(Sinusoids().sample(3, torch.Generator()).support)
    assert all(v.shape[0] == 3 and not v.requires_grad for v in state.values())
    assert all(torch.equal(v, before[k]) and net.get_parameter(k).grad is None for k, v in net.state_dict().items())


@pytest.mark.parametrize("steps", [0, 2])
def test_chunks_and_ways_to_run_give_the_same(steps, device):
    """Images in chunks of 1, 2 and all; a plain torch network by vmap and by loop."""
    torch.manual_seed(0)
    batch = Episode(
        Examples(torch.randn(3, 4, 1, 16, 16), torch.randint(0, 2, (3, 4))),
        Examples(torch.randn(3, 2, 1, 16, 16), torch.randint(0, 2, (3, 2))),
    ).to(device, torch.float64)
    net = Conv4(1, 2, width=4, size=16).to(device, torch.float64)
    settings = {"fine_tune_lr": 0.1, "fine_tune_steps": steps}
    outputs = [Joint(net, Classification(2), chunk=c, **settings)(batch).logits for c in (None, 1, 2, 3)]
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], atol=1e-10, rtol=0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(256, 2)).to(device, torch.float64)
    a, b = (Joint(plain, Classification(2), how=how, **settings)(batch).logits for how in ("vmap", "loop"))
    torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("fine_tune_lr", 0.0, ValueError),
        ("fine_tune_lr", "small", TypeError),
        ("fine_tune_steps", -1, ValueError),
        ("fine_tune_steps", 1.5, TypeError),
        ("chunk", 0, ValueError),
    ],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: .*given"):
        Joint(MLP(1, 1), Regression(), **{argument: value})
