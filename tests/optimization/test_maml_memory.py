"""What bounds the memory: chunks where nothing is differentiated afterwards, micro-batches in training.

Counted in bytes of the tensors that autograd has saved and not yet let go.
"""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from metabook.episode import Episode, Examples
from metabook.likelihood import Regression
from metabook.nn import MLP, Conv4
from metabook.optimization import MAML
from metabook.training import train

B = 8


class Held:
    """A saved tensor that counts itself as long as the graph holds it."""

    now = most = 0

    def __init__(self, tensor):
        self.tensor, self.bytes = tensor, tensor.numel() * tensor.element_size()
        Held.now += self.bytes
        Held.most = max(Held.most, Held.now)

    def __del__(self):
        Held.now -= self.bytes


def peak(act):
    Held.now = Held.most = 0
    with saved_tensors_hooks(Held, lambda held: held.tensor):
        act()
    return Held.most


class Fixed:
    """The same B regression tasks, again and again."""

    likelihood = Regression(1)

    def __init__(self, x_shape):
        self.x_shape = x_shape
        generator = torch.Generator().manual_seed(0)

        def part(n):
            x, y = (torch.randn(B, n, *shape, generator=generator, dtype=torch.float64) for shape in (x_shape, (1,)))
            return Examples(x, y)

        self.episode = Episode(part(6), part(6))

    def sample(self, n, generator):
        return self.episode

    def score(self, learner, batch):
        return learner.likelihood.scores(learner(batch), batch.query.y)


NETS = {"MLP": (lambda: MLP(4, 1), (4,)), "Conv4": (lambda: Conv4(1, 1, width=4, size=16), (1, 16, 16))}


def build(name, **options):
    torch.manual_seed(0)
    net, x_shape = NETS[name]
    return MAML(net().double(), Regression(1), inner_lr=0.01, inner_steps=3, **options), Fixed(x_shape)


@pytest.mark.parametrize("name", NETS)
def test_adaptation_alone_holds_one_chunk_and_one_step(name):
    """Without a graph each chunk, and each step in it, lets its memory go: an eighth of the tasks, an eighth of it."""

    def adapt(chunk, steps=3):
        learner, tasks = build(name, chunk=chunk)
        learner.inner_steps = steps
        with torch.no_grad():
            return peak(lambda: learner.adapt(tasks.episode.support))

    assert adapt(B) > 0
    assert adapt(1) == adapt(B) / B
    assert adapt(2) == adapt(B) / 4
    assert adapt(1, steps=9) == adapt(1, steps=3)


@pytest.mark.parametrize("name", NETS)
def test_training_holds_one_micro_batch(name):
    """A micro-batch of one task needs little more than an eighth of the memory of eight, whatever the chunk."""

    def fit(micro_batch, chunk=None):
        learner, tasks = build(name, chunk=chunk)
        options = {"steps": 1, "batch": B, "micro_batch": micro_batch, "device": "cpu", "progress": "none"}
        return peak(lambda: train(learner, tasks, **options))

    whole = fit(B)
    assert whole / 8.1 < fit(1) < whole / 7
    assert whole / 4.1 < fit(2) < whole / 3.5


@pytest.mark.parametrize("name", NETS)
def test_first_order_holds_less_than_second_order(name):
    def held(first_order):
        learner, tasks = build(name, first_order=first_order)
        return peak(lambda: learner.meta_loss(tasks.episode))

    assert held(True) < 0.6 * held(False)
