"""One network over many tasks: every way gives the result and the gradients of a loop written here."""

from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.func import functional_call

from metabook.mapping import (
    default_chunk,
    has_convolution,
    in_chunks,
    per_chunk,
    run,
    run_per_chunk,
    uses_batch_statistics,
)
from metabook.nn import MLP, Conv4, MaxPool2d

B, S = 3, 4


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain(seed=0):
    """A reader's own module: it knows nothing of tasks."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def stacked():
    torch.manual_seed(1)
    return MLP(2, 3, hidden=(5,)).double()


def per_task(net, tasks=B):
    return {
        k: (p.detach() + 0.1 * draw(tasks, *p.shape, seed=i)).requires_grad_()
        for i, (k, p) in enumerate(net.named_parameters())
    }


def own(net, x, phi):
    """Task b through the network with the weights of task b, one after the other."""
    out = []
    for b in range(len(x)):
        weights = {k: v[b] for k, v in phi.items()}
        if getattr(net, "takes_tasks", False):
            out.append(functional_call(net, weights, (x[b : b + 1],))[0])
        else:
            out.append(functional_call(net, weights, (x[b],)))
    return torch.stack(out)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


WAYS = [(plain, "vmap"), (plain, "loop"), (plain, None), (stacked, "stacked"), (stacked, None)]


@pytest.mark.parametrize(("make", "how"), WAYS)
def test_a_tasks_own_weights_act_on_its_own_examples(make, how, device):
    net, x = make().to(device), draw(B, S, 2, seed=9).to(device)
    phi = {k: v.to(device) for k, v in per_task(net).items()}
    out, expected = run(net, x, phi, how=how), own(net, x, phi)
    close(out, expected)
    weight = draw(B, S, 3, seed=8).to(device)
    grads, right = (torch.autograd.grad((y * weight).sum(), list(phi.values())) for y in (out, expected))
    for ours, theirs in zip(grads, right, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize(("make", "how"), WAYS)
def test_without_weights_the_networks_own_are_shared(make, how):
    net, x = make(), draw(B, S, 2)
    shared = {k: p.expand(B, *p.shape) for k, p in net.named_parameters()}
    close(run(net, x, how=how), own(net, x, shared))


@pytest.mark.parametrize(("make", "how"), WAYS)
def test_weights_that_are_left_out_are_the_networks_own(make, how):
    net, x = make(), draw(B, S, 2)
    first = next(iter(dict(net.named_parameters())))
    phi = {first: per_task(net)[first]}
    full = {k: phi.get(k, p.expand(B, *p.shape)) for k, p in net.named_parameters()}
    close(run(net, x, phi, how=how), own(net, x, full))


def test_convolutions_in_chunks_of_one_task_are_the_whole():
    torch.manual_seed(0)
    net, x = Conv4(1, 3, width=4, size=4, blocks=2).double(), draw(B, S, 1, 4, 4)
    close(run(net, x), net(x))


@pytest.mark.parametrize("training", [True, False])
def test_batch_statistics_of_plain_layers_stay_within_a_task(training):
    """Shared weights, one task changed: the results of the others must not move."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)).double().train(training)
    x = draw(B, S, 2)
    other = x.clone()
    other[0, 0] += 100
    before, after = run(net, x), run(net, other)
    assert torch.equal(before[1:], after[1:]) and not torch.allclose(before[0], after[0])
    close(before, torch.stack([net(task) for task in x]))


def test_which_networks_use_batch_statistics():
    assert uses_batch_statistics(Conv4(1, width=4)) and not uses_batch_statistics(Conv4(1, width=4, norm="group"))
    assert uses_batch_statistics(nn.BatchNorm2d(3, track_running_stats=False).eval())
    assert uses_batch_statistics(nn.BatchNorm2d(3)) and not uses_batch_statistics(nn.BatchNorm2d(3).eval())
    assert not uses_batch_statistics(nn.Sequential(nn.InstanceNorm2d(3), nn.GroupNorm(1, 3), nn.LayerNorm(3)))


def test_dropout_draws_a_mask_of_its_own_for_every_task():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(50, 50, bias=False)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.eye(50))
    torch.manual_seed(0)
    out = run(net, torch.ones(2, 1, 50, dtype=torch.float64), {"1.weight": net[1].weight.expand(2, 50, 50)}, how="vmap")
    assert not torch.equal(out[0], out[1])


class Spy(nn.Sequential):
    """Counts its calls: one under vmap, one a task in a loop."""

    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(x)


@pytest.mark.parametrize(("layer", "x_shape", "calls"), [(nn.Linear(4, 1), (4,), 1), (nn.Conv1d(2, 1, 1), (2, 5), B)])
def test_by_default_a_cpu_loops_over_convolutions_and_maps_the_rest(layer, x_shape, calls):
    net = Spy(layer).double()
    run(net, draw(B, S, *x_shape), {k: p.expand(B, *p.shape) for k, p in net.named_parameters()})
    assert net.calls == calls


def test_convolutions_on_a_cpu_take_as_many_tasks_as_have_64_channels_together():
    x = torch.zeros(5, 2, 3)
    assert default_chunk(MLP(3, 1), x) == 5
    wide, narrow = nn.Conv1d(2, 65, 1), nn.Sequential(nn.Conv1d(2, 16, 1), nn.Conv1d(16, 4, 1))
    assert default_chunk(wide, x) == 1 and default_chunk(narrow, x) == 4
    assert default_chunk(wide, x.to("meta")) == 5


def test_channels_on_fewer_places_count_less():
    """64 channels; after a stride of 2 on a quarter of an image, 16; after a pool besides on a sixteenth, 4."""
    many = torch.zeros(99, 1, 1, 8, 8)
    whole, strided = (nn.Conv2d(1, 64, 3, stride=stride) for stride in (1, 2))
    pooled = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2), MaxPool2d(), nn.Conv2d(1, 64, 3))
    assert [default_chunk(net, many) for net in (whole, strided, pooled)] == [1, 4, 16]


@pytest.mark.parametrize("layer", [nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Conv3d(1, 1, 1)])
def test_a_convolution_is_found_in_the_depths(layer):
    assert has_convolution(nn.Sequential(nn.ReLU(), nn.Sequential(layer))) and not has_convolution(nn.Linear(1, 1))


def test_chunks_cover_every_task_once_in_order():
    assert in_chunks(lambda s: list(range(7))[s], 7, 3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert in_chunks(lambda s: (s.start, s.stop), 2, 5) == [(0, 2)]


class Adapted(NamedTuple):
    weights: dict
    losses: torch.Tensor


SHAPES_OF_STATE = {
    "tensor": lambda x: 2 * x,
    "dict": lambda x: {"a": x, "b": x.sum((1, 2))},
    "tuple": lambda x: (x, {"a": -x}),
    "named tuple": lambda x: Adapted({"a": x}, x.mean((1, 2))),
}


@pytest.mark.parametrize("chunk", [1, 2, B, B + 5])
@pytest.mark.parametrize("state", SHAPES_OF_STATE.values(), ids=SHAPES_OF_STATE)
def test_what_is_made_of_a_few_tasks_at_a_time_is_joined_to_what_one_call_gives(state, chunk):
    x, slices = draw(B, S, 2), []

    def of(s):
        slices.append(s)
        return state(x[s])

    joined, whole = per_chunk(of, plain(), x, chunk), state(x)
    assert type(joined) is type(whole) and len(slices) == -(-B // chunk)
    ours, theirs = (torch.utils._pytree.tree_flatten(each) for each in (joined, whole))
    assert ours[1] == theirs[1] and all(torch.equal(a, b) for a, b in zip(ours[0], theirs[0], strict=True))


@pytest.mark.parametrize(("net", "calls"), [(nn.Linear(4, 1), 1), (nn.Conv1d(2, 64, 1), B)])
def test_how_many_tasks_go_together_is_the_networks_default_unless_told(net, calls):
    seen = []
    per_chunk(lambda s: seen.append(s) or torch.zeros(s.stop - s.start), net, torch.zeros(B, S, 2, 4))
    assert len(seen) == calls


@pytest.mark.parametrize(("make", "how"), WAYS)
@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_a_few_tasks_at_a_time_are_run_with_their_own_weights(make, how, chunk):
    net, x = make(), draw(B, S, 2)
    phi = per_task(net)
    close(run_per_chunk(net, x, phi, how=how, chunk=chunk), own(net, x, phi))


def test_as_few_tasks_as_were_asked_for_are_run_at_a_time():
    net = Spy(nn.Linear(2, 1)).double()
    run_per_chunk(net, draw(B, S, 2), {k: p.expand(B, *p.shape) for k, p in net.named_parameters()}, chunk=1)
    assert net.calls == B


def test_errors():
    x = draw(B, S, 2)
    with pytest.raises(ValueError, match=r"how: 'magic' given; allowed are stacked, vmap, loop"):
        run(plain(), x, how="magic")
    with pytest.raises(ValueError, match=r"how: 'stacked' given, but Sequential takes no task dimension; use"):
        run(plain(), x, how="stacked")
    with pytest.raises(ValueError, match=r"how: 'loop' given, but MLP takes the task dimension itself; use 'stacked'"):
        run(stacked(), x, how="loop")
    with pytest.raises(ValueError, match=r"chunk: 0 given; at least 1"):
        in_chunks(lambda s: s, 3, 0)
    with pytest.raises(ValueError, match=r"chunk: 0 given; at least 1"):
        per_chunk(lambda s: x[s], plain(), x, 0)
