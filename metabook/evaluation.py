"""Scoring a learner on many tasks: mean, 95 % interval, and the score of every task."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from metabook.checks import check_count, check_episode
from metabook.device import make_generator, pick_device
from metabook.episode import Episode
from metabook.learner import MetaLearner
from metabook.tasks.protocol import Tasks

T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """One score over n tasks. The task is the unit: queries of one task are not independent of each other."""

    values: Tensor  #: the score of each task, [n], on the CPU

    @property
    def n(self) -> int:
        """Number of tasks."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over tasks."""
        return float(self.values.double().mean())

    @property
    def interval(self) -> float:
        """Half-width of the 95 % confidence interval of the mean, 1.96 s / sqrt(n); infinite for a single task."""
        if self.n < 2:
            return math.inf
        return 1.96 * float(self.values.double().std()) / math.sqrt(self.n)

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} ± {self.interval:{spec}}"

    def __str__(self) -> str:
        return f"{self:.4f} (n = {self.n})"

    def difference(self, other: Score) -> Score:
        """Score of self minus other, task by task: the paired comparison, when both saw the same tasks.

        Raises ValueError if the numbers of tasks differ.
        """
        if self.n != other.n:
            raise ValueError(f"other: {other.n} tasks given; a paired comparison needs the same {self.n} tasks")
        return Score(self.values - other.values)


class Scores(dict[str, Score]):
    """Score name -> Score, in the order the tasks report them; the first is the one that counts."""

    def to_json(self, *, values: bool = False) -> str:
        """Mean, interval and n of every score as JSON text; with ``values`` every task's score too."""
        return json.dumps(self.summary(values=values), allow_nan=False)

    def summary(self, *, values: bool = False) -> dict[str, dict[str, Any]]:
        """The same as a dictionary. An interval that does not exist (one task) is None."""
        result: dict[str, dict[str, Any]] = {}
        for name, score in self.items():
            interval = score.interval if math.isfinite(score.interval) else None
            result[name] = {"mean": score.mean, "interval": interval, "n": score.n}
            if values:
                result[name]["values"] = score.values.tolist()
        return result

    def __str__(self) -> str:
        return ", ".join(f"{name} {score!s}" for name, score in self.items())


def evaluate(
    learner: MetaLearner,
    tasks: Tasks,
    *,
    episodes: int = 1000,
    batch: int = 100,
    seed: int = 1,
    device: torch.device | str | None = None,
) -> Scores:
    """The learner's scores on ``episodes`` new tasks, drawn with ``seed`` in batches of ``batch``.

    Two learners evaluated with the same tasks, seed, episodes and batch see the very same tasks, so that their scores
    can be compared task by task (``Score.difference``). The learner is moved to ``device`` (cuda, mps or cpu, whichever
    there is, when None) and keeps its weights and its training mode.

    Raises ValueError or TypeError for counts below 1, a device that is not there, and episodes that do not fit;
    FloatingPointError if a score is not finite on some task.
    """

    def look(learner: MetaLearner, episode: Episode) -> dict[str, Tensor]:
        return tasks.score(learner, episode)

    parts = visit(learner, tasks, look, episodes=episodes, batch=batch, seed=seed, device=device)
    scores = Scores({name: Score(torch.cat([part[name] for part in parts]).cpu()) for name in parts[0]})
    for name, score in scores.items():
        broken = int((~torch.isfinite(score.values)).sum())
        if broken:
            raise FloatingPointError(
                f"{name}: not finite on {broken} of {episodes} tasks; lower the learner's inner_lr, or the lr it was "
                "trained with"
            )
    return scores


def visit(
    learner: MetaLearner,
    tasks: Tasks,
    look: Callable[[MetaLearner, Episode], T],
    *,
    episodes: int,
    batch: int,
    seed: int,
    device: torch.device | str | None = None,
) -> list[T]:
    """What ``look`` returns for each batch of the tasks that ``evaluate`` draws with the same arguments.

    Raises as ``evaluate`` does for counts, devices and episodes; values that are not finite are not looked for.
    """
    check_count("episodes", episodes)
    check_count("batch", batch)
    device = pick_device(device)
    learner.to(device)
    generator = make_generator(device, seed)
    seen: list[T] = []
    training = learner.training
    learner.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)  # learners that sample latents draw from the global generator
            for start in range(0, episodes, batch):
                episode = tasks.sample(min(batch, episodes - start), generator)
                if start == 0:
                    check_episode(episode, learner.likelihood)
                seen.append(look(learner, episode))
    finally:
        learner.train(training)
    return seen
