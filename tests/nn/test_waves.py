"""Waves of random frequency: by hand, and the kernel that their inner product is."""

import math

import pytest
import torch

from metabook.generative import AttentiveCNP
from metabook.mapping import run
from metabook.nn import MLP, Waves
from metabook.registry import build, make_tasks


def test_waves_by_hand():
    """Two frequencies, (1, 0) and (0, 2), at the place (pi / 2, pi / 2): angles pi / 2 and pi."""
    waves = Waves(2, 4, scale=1.0)
    waves.frequencies.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    out = waves(torch.full((1, 1, 2), math.pi / 2))[0, 0]
    torch.testing.assert_close(out, torch.tensor([1.0, 0.0, 0.0, -1.0]), atol=1e-6, rtol=0)


def test_the_inner_product_is_a_gaussian_kernel():
    """The mean of 20,000 cosines has a standard error below 0.0071; five of them are allowed."""
    torch.manual_seed(0)
    waves, scale = Waves(2, 40_000, scale=3.0).double(), 3.0
    x, y = torch.tensor([[0.2, -0.5]]).double(), torch.tensor([[0.2, -0.5], [0.4, -0.4], [0.9, 0.3]]).double()
    wanted = [math.exp(-(scale**2) * d / 2) for d in (0.0, 0.05, 0.49 + 0.64)]
    torch.testing.assert_close((waves(x) @ waves(y).T)[0] / 20_000, torch.tensor(wanted).double(), atol=0.035, rtol=0)


def test_frequencies_are_kept_and_not_trained():
    waves = Waves(1, 6, scale=2.0)
    assert not list(waves.parameters()) and list(waves.state_dict()) == ["frequencies"]
    x = torch.randn(3, 5, 1)
    torch.testing.assert_close(run(waves, x)[1], waves(x[1]))


@pytest.mark.parametrize("name", ["attentive-cnp", "attentive-neural-process"])
def test_attentive_systems_take_waves_for_the_places(name):
    tasks = make_tasks("glyph-completion", shots=5, queries=6)
    learner = build(name, tasks, width=16, waves=4.0, seed=1)
    assert isinstance(learner.place, Waves) and learner.place.frequencies.shape == (2, 8)
    again, other = (build(name, tasks, width=16, waves=w, seed=1) for w in (4.0, 8.0))
    assert torch.equal(learner.place.frequencies, again.place.frequencies)
    torch.testing.assert_close(other.place.frequencies, 2 * learner.place.frequencies)
    assert isinstance(build(name, tasks, width=16).place, MLP)
    if isinstance(learner, AttentiveCNP):
        batch = tasks.sample(2, torch.Generator().manual_seed(0))
        torch.testing.assert_close(learner.adapt(batch.support).keys, learner.place(batch.support.x))


@pytest.mark.parametrize(
    ("sizes", "scale", "message"),
    [((2, 5), 1.0, "width: 5 given"), ((0, 4), 1.0, "inputs: 0 given"), ((2, 4), 0.0, "scale: 0.0 given")],
)
def test_bad_arguments_are_named(sizes, scale, message):
    with pytest.raises(ValueError, match=message):
        Waves(*sizes, scale=scale)
