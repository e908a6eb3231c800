"""The benchmark: its loops are right, its clock is fair, its table says what was measured."""

import json

import pytest
import torch

from metabook import benchmark, loops
from metabook.device import make_generator
from metabook.metric import ProtoNet
from metabook.tasks.clusters import Clusters
from metabook.timer import Timer

QUICK_ROWS = 5


class Clock:
    """A timer that measures nothing: ours one second, the loop two."""

    def __init__(self, device, rounds):
        self.device = device

    def __call__(self, *sides):
        return [1.0, 2.0]


@pytest.fixture(scope="module")
def rows():
    """One quick run, its times left out: what remains are the gradients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "Timer", Clock)
        return benchmark.run("cpu", quick=True)


def test_every_gradient_is_that_of_the_plain_loop(rows):
    assert len(rows) == QUICK_ROWS
    gradients = [row for row in rows if row.float64 is not None]
    assert [row.name.split(",")[0] for row in gradients] == ["MAML", "MAML", "MAML", "ProtoNet"]
    assert all(0 < row.float64 < 1e-10 for row in gradients)
    assert gradients[0].float32 < 1e-5


def test_a_row_holds_times_ratio_and_requirement(rows):
    assert all((row.ours_s, row.loop_s, row.ratio) == (1.0, 2.0, 2.0) for row in rows)
    assert [row.required for row in rows] == [12.0, 1.0, 1.0, None, None]
    assert rows[-1].per_second == 32 and rows[-1].required_per_second == 30_000


def test_the_global_seed_is_left_alone(monkeypatch):
    monkeypatch.setattr(benchmark, "Timer", Clock)
    monkeypatch.setattr(benchmark, "_compare", lambda *args: None)
    torch.manual_seed(7)
    benchmark.run("cpu", quick=True)
    assert torch.initial_seed() == 7


def test_a_full_run_has_the_compiled_and_the_large_rows(monkeypatch):
    monkeypatch.setattr(benchmark, "Timer", Clock)
    monkeypatch.setattr(benchmark, "_compare", lambda name, *args: benchmark.Row(name, 1, 2, 2, required=args[5]))
    required = {row.name: row.required for row in benchmark.run("cpu")}
    assert required["MAML, MLP 1-40-40-1, 25 sinusoids, 5 steps, compiled"] == 30
    assert [n for n in required if "32 tasks" in n and n.startswith("MAML")] == [
        "MAML, Conv4-64, 5-way 1-shot, 32 tasks, 1 step",
        "MAML, Conv4-64, 5-way 1-shot, 32 tasks, 5 steps",
    ]
    assert required["ProtoNet, Conv4-64, 60-way 5-shot, 1 task"] == 1.2


def test_the_clock_takes_turns_of_a_tenth_of_a_second_and_the_first_does_not_count():
    """Seconds a call: a 1, then 0.02; b 0.05, then 0.02. So a turn is one call of a and two of b."""
    now, calls = [0.0], []

    def side(name, first):
        def run():
            now[0] += 0.02 if name in calls else first
            calls.append(name)

        return run

    times = Timer(torch.device("cpu"), 3, clock=lambda: now[0])(side("a", 1.0), side("b", 0.05))
    assert "".join(calls) == "ab" + "abb" * 3 and times == pytest.approx([0.02, 0.02])


def test_the_difference_is_relative_to_the_loop():
    """|(3, 4) - (0, 0)| = 5 against |(6, 8)| = 10, in pieces."""
    ours, theirs = [torch.tensor([3.0]), torch.tensor([[4.0]])], [torch.tensor([6.0]), torch.tensor([[8.0]])]
    assert benchmark._difference(ours, theirs) == 0.5


def test_table_and_json(rows, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "run", lambda device, quick: rows)
    assert benchmark.main(["--quick", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ours", "loop", "ratio", "required", "difference", "in", "float64", "episodes/s"]
    assert "MAML, MLP 1-40-40-1, 25 sinusoids, 5 steps" in lines[2] and "1000.00 ms  2000.00 ms  2.00" in lines[2]
    assert "30,000/s" in lines[6] and lines[6].endswith(" 32") and lines[-1].startswith("device cpu, threads ")
    assert benchmark.main(["--json", "--device", "cpu"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["torch"] == torch.__version__ and content["rows"][0]["ratio"] == 2.0
    assert [row["name"] for row in content["rows"]] == [row.name for row in rows]


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"^device: 'nowhere' given; this machine has cpu"):
        benchmark.run("nowhere")


def test_the_prototypes_of_a_plain_loop_are_of_any_number_of_classes():
    tasks = Clusters(way=7, shots=2, queries=3)
    batch = tasks.sample(2, make_generator(torch.device("cpu"), 0)).to(dtype=torch.float64)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh()).double()
    loops.plain_prototypes(net, batch)
    theirs = [p.grad for p in net.parameters()]
    ours = torch.autograd.grad(ProtoNet(net, tasks.likelihood).meta_loss(batch), list(net.parameters()))
    assert 0 < benchmark._difference(ours, theirs) < 1e-12


def test_plain_episodes_are_disjoint_and_by_label():
    """Image number i is all i, so that every pixel names its image; class c owns the images 20 c to 20 c + 19."""
    x = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1).expand(200, 1, 2, 2)
    index = torch.arange(200).view(10, 20)
    episode = loops.plain_episodes(x, index, 3, make_generator(torch.device("cpu"), 0))
    assert episode.support.x.shape == (3, 5, 1, 2, 2) and episode.query.x.shape == (3, 75, 1, 2, 2)
    for i in range(3):
        support, query = ((e.x[i, :, 0, 0, 0] * 255).round().long() for e in episode)
        assert len({*support.tolist(), *query.tolist()}) == 80
        owners = support // 20
        assert len(set(owners.tolist())) == 5 and torch.equal(episode.support.y[i], torch.arange(5))
        assert torch.equal(query // 20, owners[episode.query.y[i]])
