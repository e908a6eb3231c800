"""The compiled meta-gradient is the meta-gradient: one program, without breaks."""

import functools
import os
import shutil
import subprocess
import sys

import pytest
import torch

from metabook.compiled import COMPILERS, compiled_gradient
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.meta_gradient import compiled_meta_gradient, meta_gradient
from metabook.metric import ProtoNet
from metabook.nn import MLP, Conv4
from metabook.optimization import MAML


@pytest.fixture
def traced(monkeypatch):
    """Traces and differentiates as the compiler does, and leaves out the C++: seconds instead of a minute."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr("shutil.which", lambda name: name)
    yield
    torch.compiler.reset()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def regression(tasks=3):
    return Episode(
        Examples(draw(tasks, 4, 2), draw(tasks, 4, 1)), Examples(draw(tasks, 5, 2, seed=1), draw(tasks, 5, 1))
    )


def classification(tasks=2):
    y = torch.tensor([0, 1, 0, 1]).repeat(tasks, 1)
    return Episode(Examples(draw(tasks, 4, 1, 4, 4), y), Examples(draw(tasks, 4, 1, 4, 4, seed=1), y))


def maml(**options):
    torch.manual_seed(0)
    return MAML(MLP(2, 1, hidden=(3,)), Regression(), inner_lr=0.1, **options).double()


def conv_maml():
    torch.manual_seed(0)
    return MAML(Conv4(1, 2, width=2, size=4, blocks=1), Classification(2), inner_lr=0.4).double()


def prototypes():
    torch.manual_seed(0)
    return ProtoNet(Conv4(1, width=2, size=4, blocks=2), Classification(2)).double()


def reference(learner, episode):
    loss = learner.meta_loss(episode)
    names, parameters = zip(*((n, p) for n, p in learner.named_parameters() if p.requires_grad), strict=True)
    return loss.detach(), dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def same(ours, theirs, tolerance=1e-10):
    assert not ours[0].requires_grad and list(ours[1]) == list(theirs[1])
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("learner", "episode"),
    [
        (functools.partial(maml, inner_steps=2), regression),
        (functools.partial(maml, inner_steps=2, first_order=True), regression),
        (conv_maml, classification),
        (prototypes, classification),
    ],
)
def test_the_loss_and_the_gradient_are_those_of_backward(learner, episode, traced):
    learner, episode = learner(), episode()
    same(compiled_gradient(learner)(episode), reference(learner, episode))
    assert all(p.grad is None for p in learner.parameters())


def test_the_parameters_are_read_at_every_call(traced):
    learner, episode = maml(), regression()
    gradient = compiled_gradient(learner)
    before = gradient(episode)
    with torch.no_grad():
        for p in learner.parameters():
            p.mul_(1.5)
    after = gradient(episode)
    assert not torch.equal(before[0], after[0])
    same(after, reference(learner, episode))


def test_frozen_parameters_get_no_gradient_and_still_count(traced):
    learner, episode = maml(), regression()
    learner.net.layers[0].weight.requires_grad_(False)
    gradient = compiled_gradient(learner)(episode)
    assert "net.layers.0.weight" not in gradient[1]
    same(gradient, reference(learner, episode))


@pytest.mark.parametrize("micro_batch", [2, 3])
def test_micro_batches_add_up_to_the_whole(micro_batch, traced):
    learner, other, episode = maml(), maml(), regression()
    losses = [
        compiled_meta_gradient(learner)(learner, episode, micro_batch),
        meta_gradient(other, episode, micro_batch),
        reference(maml(), episode)[0],
    ]
    torch.testing.assert_close(torch.stack(losses), losses[2].expand(3), rtol=1e-12, atol=0)
    right = reference(maml(), episode)[1]
    for each in (learner, other):
        same((losses[2], {n: p.grad for n, p in each.named_parameters()}), (losses[2], right))


def test_distributions_are_checked_as_before():
    """torch's compiler turns the checks of all distributions off when it first starts: here in a new program."""
    code = """
import functools, torch
from metabook.compiled import compiled_gradient
from metabook.metric import ProtoNet
from metabook.likelihood import Classification
from metabook.nn import MLP
from metabook.episode import Episode, Examples
torch.compile = functools.partial(torch.compile, backend="aot_eager")
part = Examples(torch.randn(1, 2, 2), torch.tensor([[0, 1]]))
compiled_gradient(ProtoNet(MLP(2, 2, hidden=()), Classification(2)))(Episode(part, part))
torch.distributions.Normal(0.0, -1.0)
"""
    env = {**os.environ, "CXX": sys.executable}  # any program that is there: nothing is compiled
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and "ValueError: Expected parameter scale" in done.stderr


def test_without_a_compiler_the_error_says_so(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RuntimeError, match=r"^compile: no C\+\+ compiler found \(tried g\+\+, c\+\+, .*compile=False$"):
        compiled_gradient(maml())
    monkeypatch.setenv("CXX", "some-compiler")
    with pytest.raises(RuntimeError, match=r"tried some-compiler\); install one"):
        compiled_gradient(maml())


@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(c) for c in COMPILERS), reason="needs a C++ compiler")
def test_compiled_to_machine_code():
    """The real compiler, in the precision that training uses."""
    learner, episode = maml().float(), regression().to(dtype=torch.float32)
    same(compiled_gradient(learner)(episode), reference(learner, episode), tolerance=1e-5)
