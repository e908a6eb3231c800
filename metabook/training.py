"""The one training loop: sample tasks, meta-loss, backward, optimiser step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabook.checkpoint import read_checkpoint, write_checkpoint
from metabook.checks import check_count, check_episode, check_positive
from metabook.device import make_generator, pick_device
from metabook.episode import Episode
from metabook.evaluation import evaluate
from metabook.files import write_json
from metabook.learner import MetaLearner
from metabook.progress import Progress
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
    optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] | None = None,
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

    optimizer: makes an optimiser from the parameters; Adam with rate ``lr`` when None.
    validation: other tasks; every ``validate_every`` steps (a tenth of the run when None) the learner is scored on the
        same ``validation_episodes`` of them, and the best weights are the ones left in the learner.
    seed: fixes the tasks, the validation tasks and every random draw inside the learner. The weights it starts from
        are the learner's own (``metabook.build(..., seed=)`` fixes those).
    device: cuda, mps or cpu, whichever there is, when None.
    micro_batch: tasks per backward pass; bounds the memory, same gradient.
    compile: compile the whole meta-gradient; worth it for small networks and many steps.
    out: folder for ``checkpoint.pt`` and ``history.json``, written every half minute, at every validation and at the end.
    resume: go on from ``out``; the result is bit for bit that of a run that was never interrupted.
    progress: "bar", "lines" or "none"; a bar at a terminal, else lines, when None.

    Raises ValueError or TypeError for arguments out of range, FileExistsError if ``out`` holds a run and ``resume`` is
    False, FloatingPointError if the loss stops being finite.
    """
    check_count("steps", steps)
    check_count("batch", batch)
    micro_batch = batch if micro_batch is None else check_count("micro_batch", micro_batch)
    every = max(1, steps // 10) if validate_every is None else check_count("validate_every", validate_every)
    check_positive("lr", lr)
    device = pick_device(device)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(f"learner: {type(learner).__name__} has no meta-parameters; there is nothing to train")
    path = None if out is None else Path(out) / "checkpoint.pt"
    if resume and path is None:
        raise ValueError("resume: True given without out; name the folder of the run to resume")
    if path is not None and path.exists() and not resume:
        raise FileExistsError(f"out: {out} already holds a run; use resume=True to go on, or another folder")

    learner.to(device).train()
    optim = torch.optim.Adam(parameters, lr=lr, fused=True) if optimizer is None else optimizer(parameters)
    generator = make_generator(device, seed)
    history, losses, first, best = History(), torch.zeros(steps, device=device), 0, None
    settings = {"batch": batch, "lr": lr, "seed": seed, "micro_batch": micro_batch, "validate_every": every}
    gradient = _compiled(learner) if compile else _gradient

    def checkpoint(step: int) -> None:
        if path is None:
            return
        history.losses, history.seconds = losses[:step].tolist(), seconds + time.perf_counter() - began
        state = {
            "step": step,
            "settings": settings,
            "weights": learner.state_dict(),
            "optimizer": optim.state_dict(),
            "generator": generator.get_state(),
            "rng": _rng_state(device),
            "history": history.to_json(),
        }
        write_checkpoint(path, learner, best or learner.state_dict(), state)
        write_json(path.with_name("history.json"), history.to_json())

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        if resume and path is not None and path.exists():
            content = read_checkpoint(path, learner)
            state = _check_settings(content["training"], settings, steps, path)
            learner.load_state_dict(state["weights"])
            optim.load_state_dict(state["optimizer"])
            generator.set_state(state["generator"])
            _set_rng_state(device, state["rng"])
            history, first = History(**state["history"]), state["step"]
            losses[:first] = torch.tensor(history.losses)
            best = content["weights"] if history.best_step is not None else None
        seconds, began = history.seconds, time.perf_counter()
        step, saved = first, began
        try:
            with Progress(steps, first, progress) as bar:
                while step < steps:
                    episode = tasks.sample(batch, generator)
                    if step == first:
                        check_episode(episode, learner.likelihood)
                    optim.zero_grad(set_to_none=True)
                    losses[step] = gradient(learner, episode, micro_batch)
                    optim.step()
                    step += 1
                    if bar.due(step):
                        bar.show(step, _finite(float(losses[step - 1]), step))
                    if validation is not None and (step % every == 0 or step == steps):
                        scores = evaluate(learner, validation, episodes=validation_episodes, seed=seed + 1, device=device)
                        means = {name: score.mean for name, score in scores.items()}
                        history.validation.append({"step": step, **means})
                        if _is_best(history, validation.likelihood.higher_is_better):
                            history.best_step = step
                            best = {k: v.detach().clone() for k, v in learner.state_dict().items()}
                        bar.note(step, means)
                    if time.perf_counter() - saved > SAVE_EVERY_SECONDS:
                        checkpoint(step)
                        saved = time.perf_counter()
        except KeyboardInterrupt:
            checkpoint(step)
            raise
        _finite(float(losses.sum()), steps)
        checkpoint(steps)
    history.losses, history.seconds = losses.tolist(), seconds + time.perf_counter() - began
    if best is not None:
        learner.load_state_dict(best)
    return history


def _gradient(learner: MetaLearner, episode: Episode, micro_batch: int) -> Tensor:
    """Put the gradient of the mean meta-loss into .grad; return the loss, a detached scalar."""
    n, total = episode.batch_size, torch.zeros((), device=episode.support.x.device)
    for i in range(0, n, micro_batch):
        part = episode.tasks(slice(i, i + micro_batch)) if micro_batch < n else episode
        loss = learner.meta_loss(part) * (part.batch_size / n)
        loss.backward()
        total = total + loss.detach()
    return total


def _compiled(learner: MetaLearner) -> Callable[[MetaLearner, Episode, int], Tensor]:
    from metabook.compiled import compiled_gradient

    gradient = compiled_gradient(learner)

    def fill(learner: MetaLearner, episode: Episode, micro_batch: int) -> Tensor:
        loss, grads = gradient(episode)
        for name, p in learner.named_parameters():
            p.grad = grads[name]
        return loss

    return fill


def _finite(loss: float, step: int) -> float:
    if not -float("inf") < loss < float("inf"):
        raise FloatingPointError(f"meta-loss: {loss} by step {step}; lower lr, or the learner's inner_lr")
    return loss


def _is_best(history: History, higher_is_better: bool) -> bool:
    values = [list(v.values())[1] for v in history.validation]  # the first score is the one that counts
    return values[-1] == (max if higher_is_better else min)(values) and values.count(values[-1]) == 1


def _check_settings(state: Any, settings: dict[str, Any], steps: int, path: Path) -> dict[str, Any]:
    if state is None:
        raise ValueError(f"resume: {path} holds weights only, no training run to go on with")
    different = [f"{k} was {state['settings'].get(k)}, now {v}" for k, v in settings.items() if state["settings"].get(k) != v]
    if different:
        raise ValueError(f"resume: the run in {path.parent} had other settings: {'; '.join(different)}")
    if state["step"] > steps:
        raise ValueError(f"steps: {steps} given; the run in {path.parent} has already made {state['step']}")
    return state


def _rng_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_rng_state(device: torch.device, state: Tensor) -> None:
    torch.cuda.set_rng_state(state, device) if device.type == "cuda" else torch.set_rng_state(state)
