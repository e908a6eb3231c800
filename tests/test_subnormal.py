"""Subnormal numbers count as zero while training, and only then."""

import pytest
import torch

from metabook import train
from metabook.registry import build
from metabook.subnormal import are_flushed, subnormals_flushed
from metabook.tasks import Sinusoids

TINY = torch.tensor(torch.finfo(torch.float32).tiny)


@pytest.fixture(autouse=True)
def _can():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor does not flush subnormal numbers")


def test_inside_they_are_zero_and_outside_they_are_not():
    assert (TINY / 4).item() > 0 and not are_flushed()
    with subnormals_flushed():
        assert (TINY / 4).item() == 0 and are_flushed() and TINY.item() > 0
        with subnormals_flushed():
            pass
        assert are_flushed()
    assert (TINY / 4).item() > 0 and not are_flushed()


def test_an_error_restores_them():
    with pytest.raises(KeyError), subnormals_flushed():
        raise KeyError
    assert not are_flushed()


def test_training_flushes_them_and_restores_them():
    seen, tasks = [], Sinusoids()

    class Watched(type(tasks)):
        def sample(self, n, generator):
            seen.append(are_flushed())
            return super().sample(n, generator)

    train(build("anil", tasks), Watched(), steps=2, device="cpu", progress="none")
    assert seen == [True, True] and not are_flushed()
