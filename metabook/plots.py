"""Pictures that stay legible in print, on a dark page, and for colour-blind eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metabook.calibration import Reliability
from metabook.episode import Episode
from metabook.evaluation import Score
from metabook.training import History

#: Okabe and Ito's eight colours without black and yellow, which vanish on a dark or a light page.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"]
GREY = "#7f7f7f"


def use_style() -> None:
    """Set the book's matplotlib style: white ground, thin frame, legible sizes, colours for every eye."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.2),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "font.size": 10,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "image.cmap": "gray_r",
            "savefig.bbox": "tight",
        }
    )


def show_images(episode: Episode, task: int = 0, *, queries: int = 5, names: Sequence[str] | None = None) -> Figure:
    """The support set of one classification task and some of its queries, one row a class.

    episode: images [B, S, C, H, W]; queries: how many a class to show; names: a label for each class.
    """
    (support, query) = episode.support, episode.query
    n_way = int(support.y[task].max()) + 1
    rows = [(support.x[task][support.y[task] == c], query.x[task][query.y[task] == c][:queries]) for c in range(n_way)]
    shots, shown = max(len(s) for s, _ in rows), max(len(q) for _, q in rows)
    figure, axes = plt.subplots(
        n_way, shots + shown + 1, figsize=(0.72 * (shots + shown) + 0.6, 0.75 * n_way + 0.4), squeeze=False,
        gridspec_kw={"width_ratios": [1] * shots + [0.35] + [1] * shown},
    )  # fmt: skip
    for axis in axes.flat:
        axis.set_axis_off()
    for c, (s, q) in enumerate(rows):
        for j, image in enumerate(s):
            _image(axes[c, j], image, COLOURS[0])
        for j, image in enumerate(q):
            _image(axes[c, shots + 1 + j], image, GREY)
        axes[c, 0].text(
            -0.25, 0.5, names[c] if names else f"class {c}", transform=axes[c, 0].transAxes, ha="right", va="center"
        )
    axes[0, 0].set_title("support", loc="left", color=COLOURS[0])
    axes[0, shots + 1].set_title("query", loc="left", color=GREY)
    return figure


def _image(axis: Axes, image: Tensor, edge: str) -> None:
    axis.set_axis_on()
    axis.imshow(image.mean(0).cpu().numpy(), vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color=edge)


def show_grid(columns: Mapping[str, Tensor], rows: Sequence[str], *, mark: str | None = None) -> Figure:
    """Images side by side, a column a name: columns[name] [rows, 1, H, W], values from 0 (white) to 1 (black).

    A pixel that is NaN is light blue. mark: the column whose scale is its own, from 0 to its largest value, with a bar.
    """
    bar = 1.0 if mark else 0.0
    size = (0.95 * len(columns) + 0.8 + bar, 0.95 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False)
    gray, own = plt.get_cmap("gray_r").with_extremes(bad="#cfe4f2"), plt.get_cmap("viridis")
    for j, (name, images) in enumerate(columns.items()):
        top = float(images.max()) if name == mark else 1.0
        for axis, image in zip(axes[:, j], images, strict=True):
            drawn = axis.imshow(image[0].detach().cpu().numpy(), vmin=0, vmax=top, cmap=own if name == mark else gray)
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(visible=True, color=GREY, lw=0.5)
        axes[0, j].set_title(name, fontsize=9)
        if name == mark:
            figure.colorbar(drawn, ax=axes, label=name, shrink=0.6)
    for axis, row in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(row, rotation=0, ha="right", va="center")
    return figure


def show_history(history: History, *, axis: Axes | None = None, score: str | None = None, smooth: int = 50) -> Axes:
    """Meta-loss against step, averaged over ``smooth`` steps, and the validation score if there is one.

    score: the validation score to draw; the first when None.
    """
    axis = axis or plt.subplots()[1]
    losses = np.asarray(history.losses)
    width = max(1, min(smooth, len(losses) // 5))
    mean = np.convolve(losses, np.ones(width) / width, mode="valid")
    axis.plot(
        np.arange(width, len(losses) + 1),
        mean,
        label=f"meta-loss (mean of {width} steps)" if width > 1 else "meta-loss",
    )
    axis.set(xlabel="meta-training step", ylabel="meta-loss")
    if history.validation:
        name = score or list(history.validation[0])[1]
        other = axis.twinx()
        other.spines["right"].set_visible(True)
        other.plot(
            [v["step"] for v in history.validation], [v[name] for v in history.validation], "o-", color=COLOURS[1], ms=4
        )
        other.set_ylabel(f"validation {name}", color=COLOURS[1])
        if history.best_step is not None:
            axis.axvline(history.best_step, color=GREY, ls=":", lw=1, label="weights kept")
    axis.legend()
    return axis


def show_scores(scores: Mapping[str, Score], *, axis: Axes | None = None, label: str = "score") -> Axes:
    """One bar a system with its 95 % interval and its number. scores: system name -> Score of the same kind."""
    axis = axis or plt.subplots(figsize=(7.0, 0.5 * len(scores) + 0.9))[1]
    for i, score in enumerate(scores.values()):
        axis.barh(
            i, score.mean, xerr=score.interval, color=COLOURS[i % len(COLOURS)], ecolor=GREY, capsize=3, height=0.6
        )
        axis.annotate(
            f"{score:.3f}", (score.mean + score.interval, i), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(range(len(scores)), list(scores))
    axis.invert_yaxis()
    axis.margins(x=0.22)
    axis.set_xlabel(f"{label}, 95 % interval over {next(iter(scores.values())).n} tasks")
    return axis


def show_reliability(bins: Reliability, *, axis: Axes | None = None, label: str = "predictions") -> Axes:
    """Accuracy against confidence, a dot a bin, its area as the bin's share; on the diagonal confidence is honest."""
    if axis is None:
        axis = plt.subplots(figsize=(3.6, 3.4))[1]
        axis.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1)
        axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.03), ylim=(0, 1.03))
    full = bins.counts > 0
    x, y = bins.confidence[full].numpy(), bins.accuracy[full].numpy()
    line = axis.plot(x, y, lw=1, label=f"{label}: error {bins.error:.3f}, n = {int(bins.counts.sum())}")[0]
    axis.scatter(x, y, s=20 + 180 * (bins.counts[full] / bins.counts.sum()).numpy(), color=line.get_color())
    axis.legend(loc="lower right", fontsize=8)
    return axis


def show_functions(
    axis: Axes, x: Tensor, curves: Mapping[str, Tensor], support: tuple[Tensor, Tensor] | None = None
) -> Axes:
    """One-dimensional regression: named curves over x [n], and the support points (xs [S], ys [S])."""
    for name, y in curves.items():
        axis.plot(x.cpu().numpy(), y.detach().cpu().numpy(), label=name)
    if support is not None:
        axis.plot(
            support[0].cpu().numpy(),
            support[1].cpu().numpy(),
            "o",
            color="black",
            mfc="white",
            ms=6,
            label="support",
            zorder=5,
        )
    axis.set(xlabel="x", ylabel="y")
    axis.legend()
    return axis
