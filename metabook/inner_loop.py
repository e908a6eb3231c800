"""Gradient descent inside a learner: the step that MAML and its kin differentiate through."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import torch
from torch import Tensor, nn

from metabook.checks import check_count, check_positive
from metabook.mapping import Phi


def start(net: nn.Module, tasks: int, only: Container[str] | None = None) -> Phi:
    """theta as the starting point of every task: parameter name -> [B, *p], a view, differentiable in theta.

    Frozen parameters (``requires_grad`` False) are left out: they do not adapt, and all tasks share them. So are those
    that are not among ``only``, where it is given: to compute with shared weights is cheaper than with equal ones.
    """
    named = {n: p for n, p in net.named_parameters() if not _frozen(p) and (only is None or n in only)}
    return {name: p.expand(tasks, *p.shape) for name, p in named.items()}


def _frozen(p: Tensor) -> bool:
    # A tensor put in a parameter's place by functional_call is no Parameter; whether it requires a gradient may be
    # hidden (inside torch.compile it is), and it was put there to be used.
    return isinstance(p, nn.Parameter) and not p.requires_grad


def gradient(losses: Callable[[Phi], Tensor], phi: Phi, *, create_graph: bool) -> Phi:
    """The gradient of each task's loss in that task's own weights: name -> [B, *p].

    losses: phi -> [B]. Task b's loss depends on task b's weights only, so the gradient of the sum is all B gradients.
    create_graph: keep the graph, so that the result can be differentiated in turn.
    Weights that the loss does not use have gradient zero.

    Raises ValueError if there is nothing to adapt: every parameter of the network is frozen.
    """
    if not phi:
        raise ValueError("net: no parameter requires a gradient; gradient steps need at least one that does")
    if torch.compiler.is_compiling():  # torch.compile follows torch.func.grad through; plain autograd is faster eagerly
        grads = torch.func.grad(lambda p: losses(p).sum())(phi)
        return grads if create_graph else {k: g.detach() for k, g in grads.items()}
    with torch.enable_grad():
        values = torch.autograd.grad(
            losses(phi).sum(), list(phi.values()), create_graph=create_graph, materialize_grads=True
        )
    return dict(zip(phi, values, strict=True))


def descend(
    losses: Callable[[Phi], Tensor],
    phi: Phi,
    *,
    lr: float | Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    steps: int,
    first_order: bool = False,
    clip: float | None = None,
) -> Phi:
    """``steps`` gradient steps of size ``lr`` for every task at once: name -> [B, *p].

    phi_{t+1} = phi_t - lr * grad L(phi_t), each step's gradient taken at that step's own weights.

    lr: one number; or a rate for each weight, name -> a tensor that broadcasts against [B, *p]; or one such for each
        step.

    Under ``torch.no_grad`` it still adapts, and returns weights with no graph. first_order: take the inner gradients as
    constants, so that no second derivatives reach theta (Finn et al. 2017, sec. 5.2), whatever the number of steps.
    clip: the greatest length of a task's gradient; longer ones are shortened to it (``clipped``).
    """
    differentiable = torch.is_grad_enabled()
    for t in range(steps):
        if not differentiable:
            phi = {k: v.detach().requires_grad_() for k, v in phi.items()}
        grads = gradient(losses, phi, create_graph=differentiable and not first_order)
        grads = grads if clip is None else clipped(grads, clip)
        rate = lr[t] if isinstance(lr, Sequence) else lr
        if isinstance(rate, Mapping):
            phi = {k: v - rate[k] * grads[k] for k, v in phi.items()}
        else:
            phi = {k: torch.add(v, grads[k], alpha=-rate) for k, v in phi.items()}
    return phi if differentiable else {k: v.detach() for k, v in phi.items()}


def clipped(grads: Phi, limit: float) -> Phi:
    """The gradient of each task, all tensors together, at most ``limit`` long: g min(1, limit / |g|), name -> [B, *p].

    The factor is part of the graph, so that second derivatives are exact where it is active too.
    """
    squares = torch.stack([g.flatten(1).square().sum(1) for g in grads.values()]).sum(0)  # [B]
    factor = limit * squares.clamp(min=limit**2).rsqrt()
    return {name: g * factor.view(-1, *[1] * (g.dim() - 1)) for name, g in grads.items()}


def check_descent(
    inner_lr: float, inner_steps: int, clip: float | None, chunk: int | None
) -> tuple[float, int, float | None, int | None]:
    """The four, if rate and clip are above 0 and a chunk has at least one task; no step, clip or chunk is allowed too.

    Raises TypeError or ValueError that names the argument.
    """
    return (
        check_positive("inner_lr", inner_lr),
        check_count("inner_steps", inner_steps, least=0),
        None if clip is None else check_positive("clip", clip),
        None if chunk is None else check_count("chunk", chunk),
    )


def without_running_statistics(net: nn.Module, name: str = "net") -> nn.Module:
    """``net``, if no layer keeps running statistics, which would mix the tasks; else ValueError that names the layer.

    name: how the caller's argument is called.
    """
    for layer, module in net.named_modules():
        if getattr(module, "running_mean", None) is not None:
            raise ValueError(
                f"{name}: layer {layer or name} ({type(module).__name__}) keeps running statistics, which mix the "
                "tasks; use metabook.nn.TaskBatchNorm, or track_running_stats=False"
            )
    return net
