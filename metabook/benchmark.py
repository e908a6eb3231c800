"""The package's speed against plain loops over tasks, with the difference of the gradients beside it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.commands.table import table
from metabook.compiled import compiled_gradient
from metabook.device import make_generator, pick_device
from metabook.episode import Episode
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Regression
from metabook.loops import QUERIES, WAY, plain_conv4, plain_episodes, plain_maml, plain_mlp, plain_prototypes
from metabook.mapping import default_micro_batch
from metabook.meta_gradient import meta_gradient
from metabook.metric import ProtoNet
from metabook.nn import MLP, Conv4
from metabook.optimization import MAML
from metabook.tasks.images import FewShot
from metabook.tasks.sinusoids import Sinusoids
from metabook.timer import Timer


class Row(NamedTuple):
    """One comparison. Differences are norms of the difference of the gradients over the norm of the loop's."""

    name: str
    ours_s: float  #: median seconds of one meta-gradient, or of one batch of episodes
    loop_s: float  #: the same for the plain loop
    ratio: float  #: loop_s / ours_s
    required: float | None = None  #: the ratio to reach
    float32: float | None = None  #: difference of the gradients as timed
    float64: float | None = None  #: the same in double precision, on two tasks
    per_second: float | None = None  #: episodes a second, ours
    required_per_second: float | None = None


def _compare(
    name: str,
    learner: MetaLearner,
    net: nn.Module,
    plain: Callable[[nn.Module, Episode], None],
    batch: Episode,
    timer: Timer,
    required: float | None,
    compiled: bool = False,
) -> Row:
    learner.to(timer.device), net.to(timer.device)
    theirs = list(net.parameters())
    with torch.no_grad():
        for p, q in zip(learner.parameters(), theirs, strict=True):
            p.copy_(q)
    program = compiled_gradient(learner) if compiled else None

    def ours(batch: Episode = batch) -> list[Tensor]:
        if program is not None:
            return list(program(batch)[1].values())
        learner.zero_grad()
        meta_gradient(learner, batch, default_micro_batch(learner, batch.support.x.device, batch.batch_size))
        return [p.grad for p in learner.parameters() if p.grad is not None]

    def loop(batch: Episode = batch) -> list[Tensor]:
        net.zero_grad()
        plain(net, batch)
        return [p.grad for p in theirs if p.grad is not None]

    ours_s, loop_s = timer(ours, loop)
    float32, float64 = _difference(ours(), loop()), None
    if not compiled and timer.device.type != "mps":
        learner.double(), net.double()
        two = batch.tasks(slice(2)).to(dtype=torch.float64)
        float64 = _difference(ours(two), loop(two))
    return Row(name, ours_s, loop_s, loop_s / ours_s, required, float32, float64)


def _difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    a, b = (torch.cat([g.flatten() for g in grads]) for grads in (ours, theirs))
    return float((a - b).norm() / b.norm())


def run(device: torch.device | str | None = None, quick: bool = False) -> list[Row]:
    """Measure every comparison: about half a minute when quick, some minutes when not.

    Raises ValueError for a device that is not there.
    """
    device = pick_device(device)
    generator = make_generator(device, 0)
    on_cpu = device.type == "cpu"  # the required ratios are those of two CPU cores
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        rows, timer = [], Timer(device, 9 if quick else 30)
        sines = Sinusoids().sample(25, generator)
        for compiled in (False,) if quick else (False, True):
            ours = MAML(MLP(1, 1), Regression(), inner_steps=5)
            name = "MAML, MLP 1-40-40-1, 25 sinusoids, 5 steps" + ", compiled" * compiled
            loop = partial(plain_maml, loss=F.mse_loss, lr=0.01, steps=5)
            needed = (30.0 if compiled else 12.0) if on_cpu else None
            rows.append(_compare(name, ours, plain_mlp(), loop, sines, timer, needed, compiled))

        images = torch.randint(256, (4000, 1, 28, 28), dtype=torch.uint8, device=device, generator=generator)
        classes = torch.arange(200, device=device).repeat_interleave(20)
        few_shot = FewShot(images, classes, way=WAY, shots=1, queries=QUERIES)
        timer = Timer(device, 3 if quick else 7)
        for tasks in (8,) if quick else (8, 32):
            batch = few_shot.sample(tasks, generator)
            for steps in (1, 5):
                conv = MAML(Conv4(1, WAY), few_shot.likelihood, inner_lr=0.4, inner_steps=steps)
                name = f"MAML, Conv4-64, 5-way 1-shot, {tasks} tasks, {steps} step" + "s" * (steps > 1)
                loop = partial(plain_maml, loss=F.cross_entropy, lr=0.4, steps=steps)
                rows.append(_compare(name, conv, plain_conv4(WAY), loop, batch, timer, 1.0 if on_cpu else None))
            name = f"ProtoNet, Conv4-64, 5-way 1-shot, {tasks} tasks"
            net = ProtoNet(Conv4(1), Classification(WAY))
            rows.append(_compare(name, net, plain_conv4(None), plain_prototypes, batch, timer, None))

        if not quick:
            batch = FewShot(images, classes, way=60, shots=5, queries=5).sample(1, generator)
            name, net = "ProtoNet, Conv4-64, 60-way 5-shot, 1 task", ProtoNet(Conv4(1), Classification(60))
            rows.append(_compare(name, net, plain_conv4(None), plain_prototypes, batch, timer, 1.2 if on_cpu else None))
        index = torch.arange(len(images), device=device).view(200, 20)
        ours_s, loop_s = Timer(device, 9)(
            lambda: few_shot.sample(32, generator), lambda: plain_episodes(images, index, 32, generator)
        )
        rate = {"per_second": 32 / ours_s, "required_per_second": 30_000.0 if on_cpu else None}
        rows.append(Row("episodes, 5-way 1-shot, 32 a batch", ours_s, loop_s, loop_s / ours_s, **rate))
    return rows


def format_table(rows: Sequence[Row]) -> str:
    """The rows as text, one a line."""
    head = ("", "ours", "loop", "ratio", "required", "difference", "in float64", "episodes/s")
    return table([_cells(row) for row in rows], head)


def _cells(row: Row) -> list[str]:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    required = number(row.required, "g") or number(row.required_per_second, ",.0f") + "/s" * bool(
        row.required_per_second
    )
    times = [f"{1000 * s:.2f} ms" for s in (row.ours_s, row.loop_s)]
    differences = [number(row.float32, ".0e"), number(row.float64, ".0e")]
    return [row.name, *times, f"{row.ratio:.2f}", required, *differences, number(row.per_second, ",.0f")]


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m metabook.benchmark [--quick] [--json] [--device DEVICE]``."""
    parser = argparse.ArgumentParser(prog="metabook benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer sizes, nothing compiled")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--device", help="cuda, mps or cpu; the first there is when not given")
    args = parser.parse_args(argv)
    rows, device = run(args.device, args.quick), pick_device(args.device)
    setting = {"device": str(device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if args.json:
        print(json.dumps({**setting, "rows": [row._asdict() for row in rows]}, indent=2))
    else:
        print(format_table(rows), ", ".join(f"{k} {v}" for k, v in setting.items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
