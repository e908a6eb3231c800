"""Where to compute, and generators that start from a seed."""

import pytest
import torch

from metabook.device import make_generator, pick_device


def machine(monkeypatch, *, cuda, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_fastest_device_is_picked(monkeypatch, cuda, mps, expected):
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert pick_device() == torch.device(expected)


def test_the_device_that_is_asked_for_is_taken(monkeypatch, device):
    machine(monkeypatch, cuda=True, mps=True)
    assert pick_device("cpu") == torch.device("cpu") == pick_device(torch.device("cpu"))
    assert pick_device(device) == device


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "cpu:x"])
@pytest.mark.parametrize(
    ("cuda", "mps", "have"),
    [(False, False, "cpu"), (True, False, "cpu, cuda"), (False, True, "cpu, mps"), (True, True, "cpu, cuda, mps")],
)
def test_a_device_that_is_not_there_lists_what_is(monkeypatch, name, cuda, mps, have):
    machine(monkeypatch, cuda=cuda, mps=mps)
    with pytest.raises(ValueError) as caught:
        pick_device(name)
    assert str(caught.value) == f"device: {name!r} given; this machine has {have}"


def test_a_seed_gives_its_numbers_again(device):
    a, b, c = (torch.rand(4, generator=make_generator(device, seed), device=device) for seed in (7, 7, 8))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert make_generator(device, 0).device.type == device.type


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_ends_of_the_seeds(seed):
    assert make_generator(torch.device("cpu"), seed).initial_seed() == seed


@pytest.mark.parametrize("seed", [True, 1.0, "1", None])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(TypeError) as caught:
        make_generator(torch.device("cpu"), seed)
    assert str(caught.value) == f"seed: {seed!r} given; a whole number from 0 is needed"


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_have_ends(seed):
    with pytest.raises(ValueError) as caught:
        make_generator(torch.device("cpu"), seed)
    assert str(caught.value) == f"seed: {seed} given; a whole number from 0 to 2**63 - 1 is needed"
