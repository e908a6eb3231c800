"""Few-shot tasks drawn from labelled images or from any labelled tensor: an episode is an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Likelihood
from metabook.tasks.draw import draw_by_label, draw_distinct
from metabook.tasks.protocol import score_predictions

Distortion = Callable[[Tensor, torch.Generator], Tensor]


class FewShot:
    """N-way K-shot classification tasks from one labelled set (x, y).

    Vinyals et al. (2016), arXiv:1606.04080, sec. 4.1: draw N classes, then K support and some query examples of each.

    x: [n, *X]. uint8 images [n, C, H, W] come out as floats x / 255; floating-point tensors of any shape come out as
        they are.
    y: [n] int64 classes 0..C-1, in any order; classes may have different numbers of examples.
    way, shots, queries: N classes a task, K support and ``queries`` query examples of *each* class.
    groups: [C] int, the group (alphabet, script) of each class. within_groups: all N classes of a task come from one
        group, drawn uniformly from those that have at least N classes.
    distort: a function of images [n, C, H, W] and a generator, applied to every drawn image (``Distort``).
    repeat: a class with fewer than K + queries examples is used all the same: up to half of its examples, at most K,
        serve as support, the others as queries, several times each. Sensible only with ``distort``.
    fixed_labels: class c has label c mod N in every task. One network can then learn all labels by heart, and the
        support set says nothing new: such tasks are not mutually exclusive (Yin et al. 2020, arXiv:1912.03820).

    Promises: classes are drawn uniformly and are distinct within a task; which class gets which label is random,
    unless ``fixed_labels``, where label j's class is drawn uniformly from those that have it; the examples of a class
    are drawn uniformly; support and query never share an example. Examples are ordered by label.

    The data are copied to a generator's device when it is first used there, and stay there as one tensor.

    Raises TypeError or ValueError for shapes, dtypes or labels that do not fit, values that are not finite, and
    too few classes or examples.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        way: int = 5,
        shots: int = 1,
        queries: int = 15,
        groups: Tensor | None = None,
        within_groups: bool = False,
        distort: Distortion | None = None,
        repeat: bool = False,
        fixed_labels: bool = False,
    ) -> None:
        self.likelihood: Likelihood = Classification(check_count("way", way, least=2))
        self.way, self.shots, self.queries = way, check_count("shots", shots), check_count("queries", queries)
        self.distort, self.repeat, self.fixed_labels = distort, repeat, fixed_labels
        if fixed_labels and within_groups:
            raise ValueError("fixed_labels: True given with within_groups=True; one of the two is allowed")
        counts = _check(x, y)
        if distort is not None and x.dim() != 4:
            raise ValueError(f"distort: inputs of shape {list(x.shape[1:])} given; only images [C, H, W] are distorted")
        self.x_shape: tuple[int, ...] = tuple(x.shape[1:])
        self.classes = len(counts)  #: C, the number of classes
        self._check_enough(counts)
        group_of = self._groups(groups, within_groups)
        group_counts = torch.bincount(group_of)
        if not bool((group_counts >= way).any()):
            of = " in one group" if within_groups else ""
            raise ValueError(f"way: {way} given; the data have at most {int(group_counts.max())} classes{of}")
        usable = group_counts >= way
        self._most_classes, self._most_examples = int(group_counts.max()), int(counts.max())
        self._data = {
            x.device: _Data(
                x=x.reshape(len(x), -1),
                rows=y.argsort(stable=True),
                start=counts.cumsum(0) - counts,
                counts=counts,
                classes=group_of.argsort(stable=True),
                group_start=(group_counts.cumsum(0) - group_counts)[usable],
                group_counts=group_counts[usable],
            )
        }

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n tasks on the generator's device: support x [n, N*K, *X], query x [n, N*queries, *X], both by label."""
        data = self._on(generator.device)
        return Episode(*(self._examples(data, rows, generator) for rows in self.index(n, generator)))

    def index(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The rows of x of n tasks: support [n, N, K] and query [n, N, queries]; label j is entry j of dimension 1."""
        data, k = self._on(generator.device), self.shots + self.queries
        groups = len(data.group_counts)
        if groups == 1:
            group = torch.zeros(check_count("n", n), dtype=torch.int64, device=generator.device)
        else:
            group = torch.randint(groups, (check_count("n", n),), generator=generator, device=generator.device)
        if self.fixed_labels:
            member = draw_by_label(n, self.way, self.classes, generator)
        else:
            member = draw_distinct(self.way, data.group_counts[group], self._most_classes, generator)  # [n, N]
        chosen = data.classes[data.group_start[group].unsqueeze(1) + member].flatten()
        count = data.counts[chosen]
        place = draw_distinct(k, count, self._most_examples, generator)  # [n*N, K + queries]
        if self.repeat:
            place = place.gather(1, self._slots(count))
        rows = data.rows[data.start[chosen].unsqueeze(1) + place].view(n, self.way, k)
        return rows[..., : self.shots], rows[..., self.shots :]

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """accuracy (fraction) and nll (nats per query), [B]."""
        return score_predictions(learner, batch)

    def _examples(self, data: _Data, rows: Tensor, generator: torch.Generator) -> Examples:
        n, way, each = rows.shape
        x = data.x.index_select(0, rows.flatten())
        if x.dtype == torch.uint8:
            x = x * (1 / 255)  # of the default dtype
        if self.distort is not None:
            x = self.distort(x.view(-1, *self.x_shape), generator)
        y = torch.arange(way, device=x.device).repeat_interleave(each).repeat(n, 1)
        return Examples(x.view(n, way * each, *self.x_shape), y)

    def _slots(self, count: Tensor) -> Tensor:
        """Which of a class's shuffled examples fills each of its K + queries slots, [n*N, K + queries]."""
        enough = count >= self.shots + self.queries
        split = torch.where(enough, self.shots, (count // 2).clamp(max=self.shots)).unsqueeze(1)
        support = torch.arange(self.shots, device=count.device) % split
        query = split + torch.arange(self.queries, device=count.device) % (count.unsqueeze(1) - split)
        return torch.cat([support, query], 1)

    def _on(self, device: torch.device) -> _Data:
        if device not in self._data:
            self._data[device] = _Data(*(t.to(device) for t in next(iter(self._data.values()))))
        return self._data[device]

    def _check_enough(self, counts: Tensor) -> None:
        least, worst = int(counts.min()), int(counts.argmin())
        need = 2 if self.repeat else self.shots + self.queries
        if least < need:
            raise ValueError(
                f"shots + queries: {self.shots} + {self.queries} given, so every class needs {need} examples; "
                f"class {worst} has {least}"
            )

    def _groups(self, groups: Tensor | None, within_groups: bool) -> Tensor:
        if not within_groups:
            return torch.zeros(self.classes, dtype=torch.int64)
        if groups is None:
            raise ValueError("groups: None given; within_groups needs the group of each class")
        if groups.shape != (self.classes,) or groups.is_floating_point() or int(groups.min()) < 0:
            raise ValueError(
                f"groups: {groups.dtype} of shape {list(groups.shape)} given; "
                f"one whole number from 0 is needed for each of the {self.classes} classes"
            )
        return groups.long()


class _Data(NamedTuple):
    """The examples and where to find them: by class in ``rows``, classes by group in ``classes``."""

    x: Tensor  # [n, D]
    rows: Tensor  # [n]
    start: Tensor  # [C]
    counts: Tensor  # [C]
    classes: Tensor  # [C]
    group_start: Tensor  # [G]
    group_counts: Tensor  # [G]


def _check(x: Tensor, y: Tensor) -> Tensor:
    """The number of examples of each class, [C]."""
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise TypeError(f"x, y: {type(x).__name__} and {type(y).__name__} given; both must be torch tensors")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise ValueError(f"x: {x.dtype} given; uint8 images or floating-point tensors are needed")
    if x.dim() < 2 or y.dim() != 1 or len(x) != len(y) or x.numel() == 0:
        raise ValueError(f"x, y: shapes {list(x.shape)} and {list(y.shape)} given; needed are [n, *X] and [n], n >= 1")
    if x.dtype == torch.uint8 and x.dim() != 4:
        raise ValueError(f"x: uint8 of shape {list(x.shape)} given; images are [n, C, H, W]")
    if y.dtype != torch.int64:
        raise ValueError(f"y: {y.dtype} given; labels must be int64 classes 0..C-1")
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise ValueError("x: NaN or infinite values given; all values must be finite")
    if int(y.min()) < 0:
        raise ValueError(f"y: label {int(y.min())} given; labels must be classes 0..C-1")
    counts = torch.bincount(y)
    if int(counts.min()) == 0:
        raise ValueError(f"y: class {int(counts.argmin())} has no example; the classes must be 0..{len(counts) - 1}")
    return counts
