"""The one training loop: sample tasks, meta-loss, backward, optimiser step."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from metabook.checks import check_count, check_episode, check_positive
from metabook.device import make_generator, pick_device
from metabook.evaluation import evaluate
from metabook.learner import MetaLearner
from metabook.mapping import default_micro_batch
from metabook.meta_gradient import compiled_meta_gradient, meta_gradient
from metabook.optimizers import MakeOptimizer, make_optimizer
from metabook.progress import Progress
from metabook.resuming import RunFiles, Weights
from metabook.schedule import rate_factor
from metabook.subnormal import subnormals_flushed
from metabook.tasks.protocol import Tasks

SAVE_EVERY_SECONDS = 30.0


@dataclass
class History:
    """What happened during training, as data."""

    losses: list[float] = field(default_factory=list)  #: meta-loss of every step
    validation: list[dict[str, Any]] = field(default_factory=list)  #: {"step", score name: mean, ...}
    best_step: int | None = None  #: the step whose weights were kept; None without validation
    seconds: float = 0.0  #: time spent, interruptions not counted

    def to_json(self) -> dict[str, Any]:
        """Everything, as a dictionary of plain values."""
        return asdict(self)


def train(
    learner: MetaLearner,
    tasks: Tasks,
    *,
    steps: int,
    batch: int = 25,
    lr: float = 1e-3,
    optimizer: str | MakeOptimizer = "adam",
    schedule: str | None = None,
    validation: Tasks | None = None,
    validate_every: int | None = None,
    validation_episodes: int = 200,
    seed: int = 0,
    device: torch.device | str | None = None,
    micro_batch: int | None = None,
    compile: bool = False,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: str | None = None,
) -> History:
    """Meta-train ``learner`` on ``steps`` batches of ``batch`` tasks; return the history.

    optimizer: "adam" or "muon" with rate ``lr``, or a function that makes an optimiser from the parameters.
    schedule: "cosine": the rate rises, then falls to 0 at the last of the ``steps``; None: it stays (``rate_factor``).
    validation: other tasks; every ``validate_every`` steps (a tenth of the run when None) the learner is scored on the
        same ``validation_episodes`` of them, and the best weights are the ones left in the learner.
    seed: fixes the tasks, the validation tasks and every random draw inside the learner. The weights it starts from
        are the learner's own (``metabook.build(..., seed=)`` fixes those).
    device: cuda, mps or cpu, whichever there is, when None.
    micro_batch: tasks per backward pass; bounds the memory, same gradient. All of them when None, but four for
        convolutions on a CPU.
    compile: compile the whole meta-gradient; worth it for small networks and many steps.
    out: folder for ``checkpoint.pt`` and ``history.json``, written every half minute,
        at every validation and at the end.
    resume: go on from ``out``; the result is bit for bit that of a run that was never interrupted. Arguments that are
        None are taken from the run; ``steps`` may grow.
    progress: "bar", "lines" or "none"; a bar at a terminal, else lines, when None.

    Raises ValueError or TypeError for arguments out of range, FileExistsError if ``out`` holds a run and ``resume`` is
    False, FloatingPointError if the loss stops being finite.
    """
    check_count("steps", steps)
    check_count("batch", batch)
    check_count("validation_episodes", validation_episodes)
    for name, count in (("validate_every", validate_every), ("micro_batch", micro_batch)):
        if count is not None:
            check_count(name, count)
    check_positive("lr", lr)
    device = pick_device(device)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(f"learner: {type(learner).__name__} has no meta-parameters; there is nothing to train")
    settings: dict[str, Any] = {
        "batch": batch,
        "lr": lr,
        "seed": seed,
        "micro_batch": micro_batch,
        "validate_every": validate_every,
        "schedule": schedule,
        "steps": None if schedule is None else steps,
    }
    files = None if out is None else RunFiles(Path(out))
    if resume and files is None:
        raise ValueError("resume: True given without out; name the folder of the run to resume")
    past = None
    if files is not None and files.path.exists():
        if not resume:
            raise FileExistsError(f"out: {out} already holds a run; use resume=True to go on, or another folder")
        past = files.read(learner, settings, steps)
        settings = past.settings
        schedule = settings.get("schedule")
        if schedule is not None and settings["steps"] != steps:
            raise ValueError(f"steps: {steps} given; the run's {schedule} schedule is for {settings['steps']}")
    else:
        if micro_batch is None:
            settings["micro_batch"] = batch if compile else default_micro_batch(learner, device, batch)
        if validate_every is None:
            settings["validate_every"] = max(1, steps // 10)
    micro, every = settings["micro_batch"], settings["validate_every"]
    if validation is not None:  # what does not fit shows now, not after the first tenth of the run
        evaluate(learner, validation, episodes=1, seed=seed + 1, device=device)

    learner.to(device).train()
    optim = make_optimizer(optimizer, parameters, lr)
    rates = [group["lr"] for group in optim.param_groups]
    generator = make_generator(device, seed)
    gradient = compiled_meta_gradient(learner) if compile else meta_gradient
    losses = torch.zeros(steps, device=device)
    history, step = History(), 0
    best: Weights | None = None

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), subnormals_flushed():
        torch.manual_seed(seed)
        if past is not None:
            past.restore(learner, optim, generator)
            step, history = past.step, History(**past.history)
            losses[:step] = torch.tensor(history.losses)
            best = past.best if history.best_step is not None else None
        clock = time.perf_counter() - history.seconds

        def checkpoint() -> None:
            history.losses, history.seconds = losses[:step].tolist(), time.perf_counter() - clock
            _finite(sum(history.losses), step)
            if files is not None:
                files.write(learner, best, settings, step, optim, generator, history.to_json())

        saved, first = time.perf_counter(), True
        try:
            with Progress(steps, step, progress) as bar:
                while step < steps:
                    episode = tasks.sample(batch, generator)
                    if first:
                        check_episode(episode, learner.likelihood)
                        first = False
                    for group, rate in zip(optim.param_groups, rates, strict=True):
                        group["lr"] = rate * rate_factor(schedule, step, steps)
                    optim.zero_grad(set_to_none=True)
                    losses[step] = gradient(learner, episode, micro)
                    optim.step()
                    step += 1
                    if bar.due(step):
                        bar.show(step, _finite(float(losses[step - 1]), step))
                    if validation is not None and (step % every == 0 or step == steps):
                        scores = evaluate(
                            learner, validation, episodes=validation_episodes, seed=seed + 1, device=device
                        )
                        means = {name: score.mean for name, score in scores.items()}
                        bar.note(step, means)
                        history.validation.append({"step": step, **means})
                        if _is_best(history, validation.likelihood.higher_is_better):
                            history.best_step = step
                            best = {k: v.detach().clone() for k, v in learner.state_dict().items()}
                        saved = -SAVE_EVERY_SECONDS  # a validation is worth a checkpoint
                    if time.perf_counter() - saved > SAVE_EVERY_SECONDS:
                        checkpoint()
                        saved = time.perf_counter()
        except KeyboardInterrupt:
            checkpoint()
            raise
        checkpoint()
    if best is not None:
        learner.load_state_dict(best)
    return history


def _finite(loss: float, step: int) -> float:
    if not -float("inf") < loss < float("inf"):
        raise FloatingPointError(
            f"meta-loss: {loss} by step {step}; lower lr, or the learner's inner_lr, "
            "and see that every task has finite values and an example of each class"
        )
    return loss


def _is_best(history: History, higher_is_better: bool) -> bool:
    values = [list(v.values())[1] for v in history.validation]  # the first score is the one that counts
    return values[-1] == (max if higher_is_better else min)(values) and values.count(values[-1]) == 1
