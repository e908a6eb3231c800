"""Running an update rule on the weights of many tasks at once, learned or made by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metabook.episode import Examples
from metabook.flat import flatten, unflatten
from metabook.inner_loop import without_running_statistics
from metabook.likelihood import Likelihood
from metabook.mapping import Phi, run_per_chunk

Memory = tuple[Tensor, ...]
Rule = Callable[
    [Tensor, Memory, int], tuple[Tensor, Memory]
]  #: (gradient [B, P], memory, t) -> (update [B, P], memory)


class Trajectory(NamedTuple):
    """Where T steps of an optimiser have led each task."""

    weights: Phi  #: the last weights theta_T, name -> [B, *p]
    losses: Tensor  #: [B, T], the losses at theta_1 ... theta_T


class Steps(NamedTuple):
    """How a trajectory is run."""

    steps: int  #: T
    batch: int | None = None  #: examples a step; all of them when None
    unroll: int | None = None  #: forget where weights and memory came from every so many steps; never when None
    first_order: bool = True  #: take the gradients as constants


def weight_names(net: nn.Module) -> list[str]:
    """The parameters that an optimiser moves, those not frozen.

    Raises ValueError if there are none, or if a layer keeps running statistics: they would mix the tasks.
    """
    without_running_statistics(net)
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    if not names:
        raise ValueError("net: no parameter requires a gradient; an optimiser needs at least one that does")
    return names


def fixed(net: nn.Module) -> nn.Module:
    """A copy of the network whose parameters are buffers: a start that is saved, and that nothing trains."""
    net = copy.deepcopy(net)
    for path in weight_names(net):
        parent, _, name = path.rpartition(".")
        module = net.get_submodule(parent)
        value = module.get_parameter(name).detach().clone()
        delattr(module, name)
        module.register_buffer(name, value)
    return net


def first_weights(net: nn.Module, names: Sequence[str], tasks: int) -> Phi:
    """The network's own weights, parameters or buffers, as the start of every task: name -> [B, *p], a view."""
    known = {**dict(net.named_buffers()), **dict(net.named_parameters())}
    return {name: known[name].expand(tasks, *known[name].shape) for name in names}


def follow(
    net: nn.Module,
    likelihood: Likelihood,
    phi: Phi,
    rule: tuple[Rule, Memory],
    support: Examples,
    judged: Examples,
    how: Steps,
) -> Trajectory:
    """``how.steps`` updates theta_{t+1} = theta_t + update, from phi, each made from the gradient on ``support``.

    rule: the update rule and its first memory. judged: the examples on which the losses of the trajectory are taken;
        with minibatches, that of step t + 1 at theta_{t+1}, which theta_{t+1} has not been fitted to yet. Where they
        are the support set itself, that loss and the next gradient are one evaluation.

    Works under ``torch.no_grad``, and then leaves no graph.
    """
    update, memory = rule
    theta, losses = flatten(phi), []
    exact = torch.is_grad_enabled() and not how.first_order
    shared = judged.x is support.x and judged.y is support.y and not exact

    def loss(vector: Tensor, examples: Examples, t: int) -> Tensor:
        part = examples if how.batch is None else examples.minibatch(t, how.batch)
        return likelihood.loss(run_per_chunk(net, part.x, unflatten(vector, phi)), part.y)

    for t in range(how.steps):
        here = theta
        if how.unroll is not None and t > 0 and t % how.unroll == 0:
            theta, memory = theta.detach(), tuple(m.detach() for m in memory)
        at = theta if exact and theta.requires_grad else theta.detach().requires_grad_()
        with torch.enable_grad():
            values = loss(at, support, t)
            (g,) = torch.autograd.grad(values.sum(), at, create_graph=exact)
        if t > 0:
            # the loss at theta_t; its derivative in theta_t is g, which is known already
            losses.append(_through(values, g, here) if shared else loss(here, judged, t))
        step, memory = update(g, memory, t)
        theta = theta + step
    losses.append(loss(theta, judged, how.steps))
    return Trajectory(unflatten(theta, phi), torch.stack(losses, 1))


def _through(values: Tensor, g: Tensor, theta: Tensor) -> Tensor:
    """``values`` [B], with the derivative g [B, P] in theta."""
    values = values.detach()
    return values + (g * (theta - theta.detach())).sum(1) if theta.requires_grad else values
