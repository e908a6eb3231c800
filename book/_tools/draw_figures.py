"""Draw the figures of the prose that no notebook makes, into book/_static; continual.svg once it is recorded.

python book/_tools/draw_figures.py
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from metabook.flow import record_flow
from metabook.flow_drawing import show_flow
from metabook.nn import AugmentedNet
from metabook.plots import COLOURS, GREY, use_style
from metabook.recipes.continual import FIRST, RECIPES, SECOND
from metabook.record import RESULTS
from metabook.registry import build, make_tasks

STATIC = Path(__file__).resolve().parents[1] / "_static"


def quadratics() -> None:
    """Two quadratic tasks and their mean, before and after one gradient step, with the three starts."""
    a, b, alpha = np.array([1.0, 4.0]), np.array([0.0, 1.0]), 0.2
    shrink = 1 - alpha * a
    weights = {"joint training": a, "first-order MAML": a * shrink, "MAML": a * shrink**2}
    starts = {name: float((w * b).sum() / w.sum()) for name, w in weights.items()}
    theta = np.linspace(-0.2, 1.2, 200)
    figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.6))
    panels = [(axes[0], a, "before: loss at θ"), (axes[1], a * shrink**2, "after one step: loss at φ(θ)")]
    for axis, curvature, title in panels:
        losses = curvature[:, None] / 2 * (theta - b[:, None]) ** 2
        axis.plot(theta, losses[0], color=COLOURS[4], lw=1.4, label="flat task (a = 1, b = 0)")
        axis.plot(theta, losses[1], color=COLOURS[1], lw=1.4, label="steep task (a = 4, b = 1)")
        axis.plot(theta, losses.mean(0), color="black", lw=2.2, label="mean of both")
        for (name, start), colour, style in zip(
            starts.items(), (COLOURS[0], COLOURS[3], COLOURS[5]), ("--", ":", "-."), strict=True
        ):
            axis.axvline(start, color=colour, ls=style, lw=1.5, label=f"{name}: θ = {start:.1f}")
            mean = float((curvature / 2 * (start - b) ** 2).mean())
            axis.plot(start, mean, "o", color=colour, ms=6, zorder=5)
        axis.set(title=title, xlabel="θ", ylim=(0, losses.mean(0).max() * 1.15))
        axis.grid(color=GREY, alpha=0.2)
    axes[0].set_ylabel("loss")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.savefig(STATIC / "quadratics.svg", metadata={"Date": None})
    plt.close(figure)


def continual(target: Path = STATIC / "continual.svg", results: Path = RESULTS) -> None:
    """Both accuracies on the way to digits and back, a panel for each learner; a thin line is a seed."""
    found = {name: json.loads((results / f"{name}.json").read_text("utf-8")) for name in RECIPES}
    figure, axes = plt.subplots(1, len(found), figsize=(8.2, 3.6), sharey=True, squeeze=False)
    for axis, record in zip(axes[0], found.values(), strict=True):
        turn = record["curves"][0]["away"][-1]["steps"]
        lines = [
            (FIRST, ("away", "back"), COLOURS[0], "-", f"{FIRST}, on the way to {SECOND} and back"),
            (FIRST, ("stay",), COLOURS[0], ":", f"{FIRST}, had it stayed"),
            (SECOND, ("away", "back"), COLOURS[5], "-", f"{SECOND}, after training on {FIRST}"),
            (SECOND, ("fresh",), COLOURS[5], "--", f"{SECOND}, from first weights"),
        ]
        for test, curves, colour, style, label in lines:
            parts = [[point for curve in curves for point in seed[curve]] for seed in record["curves"]]
            steps = [p["steps"] + turn * (c == "back") for c in curves for p in record["curves"][0][c]]
            scores = np.array([[point[test]["mean"] for point in part] for part in parts])
            axis.plot(steps, scores.T, color=colour, ls=style, lw=0.6, alpha=0.5)
            axis.plot(steps, scores.mean(0), color=colour, ls=style, label=label)
        axis.axvline(turn, color=GREY, lw=1)
        axis.set(title=record["system"], xlabel=f"steps on {SECOND} | then on {FIRST}")
        axis.grid(color=GREY, alpha=0.2)
    axes[0][0].set_ylabel("accuracy, 5-way 1-shot")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def flow(name: str, system: str, tasks: str, titles: dict[str, str], **options: int) -> None:
    """One step of the forward pass of a system on one task, three queries a class, as the code ran it."""
    source = make_tasks(tasks, queries=3)
    learner = build(system, source, **options)
    episode = source.sample(1, torch.Generator().manual_seed(0))
    calls = record_flow(learner, episode, list(titles), [(AugmentedNet, "gradients")])
    figure = show_flow(calls, {part: title for part, title in titles.items() if title})
    figure.savefig(STATIC / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


#: part -> what to write under its name
META_NET = {
    "representation.body": "",
    "representation": "u: slow and fast",
    "to_task_weights": "d writes Q*",
    "to_fast_weights": "m writes every $W^*_i$",
    "read": "by cosines of keys",
    "base": "b: slow and fast",
}
META_NETWORKS = {
    "encoder": "code of the task",
    "chooser": "architecture",
    "writer": "weights",
    "net": "cell network",
}

if __name__ == "__main__":
    plt.rcParams["svg.hashsalt"] = "metabook"
    use_style()
    quadratics()
    if all((RESULTS / f"{name}.json").exists() for name in RECIPES):
        continual()
    flow("meta-networks-flow", "meta-networks", "glyphs", META_NET, width=16)
    flow("metanetworks-flow", "metanetworks", "function-mixture", META_NETWORKS, nodes=2)
