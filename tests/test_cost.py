"""What a system costs: counts by hand, milliseconds for a task, and a file that is written whole."""

from __future__ import annotations

import json
import math

import pytest
import torch

from metabook import cost
from metabook.recipe import Measurement, Recipe
from metabook.recipes import RECIPES
from metabook.timer import Timer

TEST = Measurement("mse", {"shots": 5, "queries": 10})
JOINT = Recipe("joint", "joint", "sinusoids", (TEST,), train_options={"shots": 5})


def test_parameters_by_hand():
    """1-40-40-1: 80 + 1640 + 41. Weights that stay as drawn do not count; a baseline without weights has none."""
    assert cost.parameters(JOINT) == 1761
    assert cost.parameters(JOINT._replace(options={"width": 3})) == 6 + 12 + 4
    meta = Recipe("m", "meta-networks", "clusters", (TEST,), options={"base": "own"})
    assert cost.parameters(meta) > cost.parameters(meta._replace(options={"base": "own", "fixed_base": True})) > 0
    assert cost.parameters(meta._replace(train_options={"way": 7})) > cost.parameters(meta)
    assert cost.parameters(JOINT._replace(system="fitted-gp")) == 0


def test_milliseconds_are_those_of_one_task(monkeypatch):
    """Half a second and a quarter for a batch of five: 100 and 50 ms."""
    clocks = []

    class Fixed:
        def __init__(self, device, rounds, *, clock):
            clocks.append((device.type, rounds, clock))

        def __call__(self, adapt, predict):
            adapt(), predict()
            return [0.5, 0.25]

    monkeypatch.setattr(cost, "Timer", Fixed)
    found = cost.cost(JOINT, TEST, tasks=5, rounds=3)
    assert (found["adapt_ms"], found["predict_ms"]) == (100, 50)
    assert clocks == [("cpu", 3, cost.time.process_time)]


def test_more_inner_steps_cost_more_time_and_more_tasks_more_memory():
    maml = JOINT._replace(system="maml")
    one, many = (cost.cost(maml, TEST._replace(options={"inner_steps": n}), rounds=1) for n in (1, 30))
    assert many["adapt_ms"] > 5 * one["adapt_ms"]
    assert cost.cost(maml, TEST, tasks=8, rounds=1)["peak_bytes"] > 4 * one["peak_bytes"] > 0


@pytest.mark.parametrize("more", [{"shots": 500}, {"queries": 5000}], ids=["support", "query"])
def test_the_peak_is_of_both_halves_of_the_tasks_of_the_test(more):
    """MAML's steps hold the support examples; more queries are more to predict."""
    maml = JOINT._replace(system="maml")
    few, many = (cost.cost(maml, Measurement("mse", options), rounds=1) for options in (TEST.task_options, more))
    assert many["peak_bytes"] > 4 * few["peak_bytes"]


def test_the_clock_of_a_timer_may_be_another():
    """Each look at this clock is a second later than the one before."""
    ticks = iter(range(1000))
    assert Timer(torch.device("cpu"), 3, clock=lambda: float(next(ticks)))(lambda: None, lambda: None) == [1.0, 1.0]


@pytest.mark.parametrize("argument", ["tasks", "rounds"])
def test_a_count_below_one_is_one_line(argument):
    with pytest.raises(ValueError, match=f"^{argument}: 0 given"):
        cost.cost(JOINT, TEST, **{argument: 0})


def check(result, names):
    assert {"title", "command", "tasks_in_a_batch", "rounds", "device", "torch", "python", "date"} <= result.keys()
    assert result["device"] == "cpu, 1 thread" and result["costs"].keys() == set(names)
    for name, row in result["costs"].items():
        assert row["system"] == RECIPES[name].system
        assert row["tests"].keys() == {test.label for test in RECIPES[name].tests}
        for test in row["tests"].values():
            assert test.keys() == {"adapt_ms", "predict_ms", "peak_bytes"}
            assert all(math.isfinite(value) and value > 0 for value in test.values())


def test_the_command_writes_every_row(tmp_path, monkeypatch, capsys):
    names = ("comparison/sinusoids-joint", "everything/sinusoids-fitted-gp", "comparison/glyphs-nearest-pixels")
    assert set(names) <= set(cost.NAMES)
    monkeypatch.setattr(cost, "NAMES", names)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert cost.main(["--folder", str(tmp_path), "--rounds", "1"]) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert capsys.readouterr().out.strip() == str(tmp_path / "everything.json")
    result = json.loads((tmp_path / "everything.json").read_text(encoding="utf-8"))
    check(result, names)
    assert result["rounds"] == 1 and [r["parameters"] for r in result["costs"].values()] == [1761, 0, 0]
    assert cost.main(["--folder", str(tmp_path), "--rounds", "0"]) == 2
    assert capsys.readouterr().err == "metabook.cost: error: rounds: 0 given; at least 1 is needed\n"


def test_the_recorded_costs_are_of_the_systems_as_they_are_now():
    path = cost.COSTS / "everything.json"
    if not path.is_file():
        pytest.skip("no costs are recorded")
    result = json.loads(path.read_text(encoding="utf-8"))
    check(result, cost.NAMES)
    for name, row in result["costs"].items():
        assert row["parameters"] == cost.parameters(RECIPES[name]), f"{name}: measure again, {result['command']}"
