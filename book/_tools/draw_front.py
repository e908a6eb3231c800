"""Draw the figure of the front page, book/_static/front.png. Takes about a minute.

Left, a task: five points of a sine wave. Middle, an ordinary network fitted to them. Right, the same network one
gradient step away from a start that MAML has learned, with three more tasks behind it.

python book/_tools/draw_front.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

import metabook
from metabook.plots import COLOURS, use_style

STATIC = Path(__file__).resolve().parents[1] / "_static"
STEPS, OTHERS = 12_000, 3
INK, WAVE, ORDINARY, LEARNED = "black", "#8a8a8a", COLOURS[5], COLOURS[0]


def train() -> metabook.MetaLearner:
    """MAML trained for one step on five points, at a falling outer rate."""
    tasks = metabook.make_tasks("sinusoids", shots=5, queries=10)
    learner = metabook.build("maml", tasks, inner_lr=0.01)
    for lr, steps in ((3e-3, STEPS * 2 // 3), (5e-4, STEPS // 3)):
        metabook.train(learner, tasks, steps=steps, lr=lr, seed=steps, device="cpu", progress="lines")
    return learner


def typical(learner: metabook.MetaLearner) -> metabook.Episode:
    """The task with the median error among some of large amplitude, then others; queries on a grid."""
    tasks = metabook.tasks.Sinusoids(shots=5, queries=2000, amplitude=(2.5, 4.5))
    batch = tasks.sample(41, torch.Generator().manual_seed(4))
    order = tasks.score(learner, batch)["mse"].argsort()
    middle = order[len(order) // 2 : len(order) // 2 + 1 + OTHERS]
    return metabook.Episode(*(metabook.Examples(part.x[middle], part.y[middle]) for part in batch))


def ordinary(support: metabook.Examples, x: Tensor) -> Tensor:
    """A network of the same shape from a random start, fitted to the five points until it meets them."""
    torch.manual_seed(0)
    net = metabook.nn.MLP(1, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(1000):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(support.x), support.y).backward()
        optimizer.step()
    return net(x).detach()


def draw(axes: list[Axes], episode: metabook.Episode, fitted: Tensor, adapted: Tensor) -> None:
    """The three panels."""
    titles = (
        "A task: five points",
        "An ordinary network, fitted to them",
        "MAML: one gradient step from a learned start",
    )
    for axis, title in zip(axes, titles, strict=True):
        x, order = episode.query.x[0, :, 0].sort()
        axis.plot(x, episode.query.y[0, order, 0], color=WAVE, ls=(0, (2, 2)), lw=1.4)
        axis.plot(episode.support.x[0], episode.support.y[0], "o", color=INK, ms=7, zorder=5)
        axis.set_title(title, color=INK, fontsize=11.5)
        axis.set(xlim=(-5.2, 5.2), ylim=(-5.6, 5.6), xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(color=WAVE, linewidth=0.8, alpha=0.6, visible=True)
    axes[1].plot(x, fitted[0, order, 0], color=ORDINARY, lw=2.8)
    for i in range(1, len(adapted)):
        xi, order_i = episode.query.x[i, :, 0].sort()
        axes[2].plot(xi, adapted[i, order_i, 0], color=LEARNED, lw=1.6, alpha=0.25)
        axes[2].plot(episode.support.x[i], episode.support.y[i], "o", color=INK, ms=3.5, alpha=0.25)
    axes[2].plot(x, adapted[0, order, 0], color=LEARNED, lw=2.8)


def main() -> None:
    """Train, fit and draw."""
    learner = train()
    episode = typical(learner)
    adapted = learner(episode).mean.detach()
    fitted = ordinary(episode.support.tasks(slice(0, 1)), episode.query.x[:1])
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 4.0), sharey=True)
    draw(list(axes), episode, fitted, adapted)
    figure.savefig(STATIC / "front.png", dpi=150, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    use_style()
    main()
