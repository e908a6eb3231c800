"""Plain loops over tasks, written as a reader would write them: what the benchmark compares the package with.

Ordinary ``torch.nn`` layers, ``functional_call`` and ``torch.autograd.grad``, one task after the other, each task's
graph freed before the next. They share no code with the systems.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metabook.episode import Episode, Examples

Loss = Callable[[Tensor, Tensor], Tensor]
WAY, QUERIES = 5, 15


def plain_maml(net: nn.Module, batch: Episode, loss: Loss, *, lr: float, steps: int) -> None:
    """Add MAML's meta-gradient to ``.grad`` of ``net``: a loop over tasks."""
    for i in range(batch.batch_size):
        phi: dict[str, Tensor] = dict(net.named_parameters())
        for _ in range(steps):
            inner = loss(functional_call(net, phi, (batch.support.x[i],)), batch.support.y[i])
            grads = torch.autograd.grad(inner, list(phi.values()), create_graph=True)
            phi = {k: v - lr * g for (k, v), g in zip(phi.items(), grads, strict=True)}
        outer = loss(functional_call(net, phi, (batch.query.x[i],)), batch.query.y[i])
        (outer / batch.batch_size).backward()


def plain_prototypes(net: nn.Module, batch: Episode) -> None:
    """Add the gradient of the prototypical loss to ``.grad`` of ``net``: a loop over tasks and classes."""
    for i in range(batch.batch_size):
        z, y = net(batch.support.x[i]), batch.support.y[i]
        centres = torch.stack([z[y == c].mean(0) for c in range(int(y.max()) + 1)])
        distance = (net(batch.query.x[i]).unsqueeze(1) - centres).square().sum(-1)
        (F.cross_entropy(-distance, batch.query.y[i]) / batch.batch_size).backward()


def plain_episodes(x: Tensor, rows: Tensor, n: int, generator: torch.Generator) -> Episode:
    """n few-shot tasks from uint8 images [m, C, H, W], one after the other. rows: [classes, examples], rows of x."""
    parts = []
    for _ in range(n):
        support, query = [], []
        for c in torch.randperm(len(rows), generator=generator, device=x.device)[:WAY]:
            order = rows[c][torch.randperm(rows.shape[1], generator=generator, device=x.device)[: 1 + QUERIES]]
            support.append(x[order[:1]])
            query.append(x[order[1:]])
        parts.append((torch.cat(support).float() / 255, torch.cat(query).float() / 255))
    y = torch.arange(WAY, device=x.device)
    return Episode(
        Examples(torch.stack([s for s, _ in parts]), y.repeat(n, 1)),
        Examples(torch.stack([q for _, q in parts]), y.repeat_interleave(QUERIES).repeat(n, 1)),
    )


def plain_conv4(outputs: int | None) -> nn.Module:
    """The 4-conv-64 network of ordinary layers, for 28 x 28 images."""
    layers: list[nn.Module] = []
    for channels in (1, 64, 64, 64):
        norm = nn.BatchNorm2d(64, track_running_stats=False)
        layers += [nn.Conv2d(channels, 64, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), *([] if outputs is None else [nn.Linear(64, outputs)]))


def plain_mlp() -> nn.Module:
    """The sinusoid network of ordinary layers."""
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
