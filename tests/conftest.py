"""What every test file may use: the ``device`` fixture and a clean state between tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import matplotlib
import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device that the tests run on: cpu (default), cuda, mps, cuda:1")


def pytest_configure(config: pytest.Config) -> None:
    # Two test workers on two cores: one thread each is the fastest, and sums come out in one order.
    torch.set_num_threads(1)
    matplotlib.use("Agg")  # not by MPLBACKEND: the notebooks' kernels would inherit it and show no figure


def pytest_report_header(config: pytest.Config) -> str:
    return f"torch {torch.__version__}, device {config.getoption('--device')}"


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device of ``--device``. A device that is not there is an error, never a silent skip."""
    chosen = torch.device(request.config.getoption("--device"))
    torch.zeros(1, device=chosen)
    return chosen


@pytest.fixture(autouse=True)
def clean_state() -> Iterator[None]:
    """A test that changes the default dtype or leaves figures open does not reach the next one."""
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
