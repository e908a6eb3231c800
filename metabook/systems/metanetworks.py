"""The systems that write networks: weights, or weights and architecture."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from metabook.checks import check_choice
from metabook.likelihood import Classification, Likelihood
from metabook.metanetworks import Hypernetwork, MetaNetworks
from metabook.nn import (
    CellNet,
    ClassEncoder,
    FirstLook,
    NetworkGenerator,
    PairEncoder,
    Pixels,
    SideBySide,
    WeightGenerator,
)
from metabook.nn.networks import MLP
from metabook.nn.weight_generator import NothingWritten
from metabook.systems import meta_networks
from metabook.systems.entry import Shape, System, cell, inner_rate, network, outputs_of

#: numbers in a chunk: of a network for vectors, of one for images, of which the head alone is written
CHUNK = (64, 256)
EYES = ("conv", "dense", "own")
DENSE = 256  #: units of the two layers of a dense eye
CLIP = 10.0  #: of the inner gradient: squares of inputs of 5 make it very long
#: of a nat in the code, for regression and for classes: with 0.001 for each of theirs nothing is learned of new letters
PRICE = (1e-3, 0.0)


def _encoder(
    net: nn.Module,
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    eyes: str,
    hidden: int,
    code: int,
    blocks: int,
    width: int | None,
) -> nn.Module:
    """One code of the task, or one of each of its classes. eyes: what looks at images, one or more of ``EYES``.

    Eyes of their "own" are the operations of the task's network ``net``.
    """
    bodies: list[nn.Module] = [Pixels()]
    if len(x_shape) == 3:
        makers: dict[str, Callable[[], nn.Module]] = {
            "conv": lambda: network(x_shape, None, width=width, norm="group"),
            "dense": lambda: network(x_shape, DENSE, layers=(DENSE,)),
            "own": lambda: FirstLook(_a_cell(net)),
        }
        bodies = [makers[check_choice("eyes", eye, EYES)]() for eye in eyes.split(",")]
    features = sum(outputs_of(body, x_shape) for body in bodies)
    body = bodies[0] if len(bodies) == 1 else SideBySide(*bodies)
    if isinstance(likelihood, Classification):
        return ClassEncoder(body, features, likelihood, hidden=hidden, code=code)
    return PairEncoder(body, features, likelihood, hidden=hidden, code=code, layers=2, blocks=blocks, described=True)


def _a_cell(net: nn.Module) -> CellNet:
    if not isinstance(net, CellNet):
        raise ValueError(f"eyes: 'own' given; allowed with units; a {type(net).__name__} has no operations")
    return net


def _hypernetwork(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    units: str = "",
    code: int = 32,
    hidden: int = 64,
    blocks: int = 2,
    eyes: str = "conv",
    body_width: int | None = None,
    parts: int = 1,
    inner_lr: float | None = None,
    inner_steps: int = 0,
    first_order: bool = False,
    clip: float | None = CLIP,
    layers: tuple[int, ...] | None = None,
    width: int | None = None,
    norm: str = "batch",
) -> Hypernetwork:
    if units:
        net: nn.Module = cell(x_shape, likelihood.size, units, width=width)
    else:
        net = network(x_shape, likelihood.size, layers=layers, width=width, norm=norm)
    last = f"layers.{len(net.layers) - 1}." if isinstance(net, MLP) else "head."
    return Hypernetwork(
        net,
        _encoder(net, x_shape, likelihood, eyes=eyes, hidden=hidden, code=code, blocks=blocks, width=body_width),
        WeightGenerator(
            net,
            code,
            only=last if len(x_shape) == 3 else "",
            head=last if isinstance(likelihood, Classification) else None,
            parts=parts,
            hidden=hidden,
            chunk=CHUNK[len(x_shape) == 3],
        ),
        likelihood,
        inner_lr=inner_rate(x_shape) if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        first_order=first_order,
        clip=clip,
    )


def _metanetworks(
    x_shape: Shape,
    likelihood: Likelihood,
    *,
    operations: str = "",
    nodes: int = 1,
    choose: str = "decoupled",
    shared: bool = False,
    written: bool = True,
    code: int = 32,
    hidden: int = 64,
    blocks: int = 2,
    eyes: str = "own",
    body_width: int | None = None,
    parts: int = 4,
    temperature: float = 1.0,
    kl_weight: float | None = None,
    cost_weight: float = 0.0,
    entropy_weight: float = 0.0,
    exploration: float = 0.1,
    sharpness: float = 5.0,
    draws: int = 4,
    inner_lr: float | None = None,
    inner_steps: int = 0,
    first_order: bool = False,
    clip: float | None = CLIP,
    width: int | None = None,
) -> MetaNetworks:
    net = cell(x_shape, likelihood.size, operations, nodes=nodes, width=width)
    writer: nn.Module = NothingWritten()
    if written:
        writer = WeightGenerator(
            net,
            code,
            only="head." if len(x_shape) == 3 else "",
            head="head." if isinstance(likelihood, Classification) else None,
            edges=net.edge_names(),
            operations=len(net.choices),
            parts=parts,
            hidden=hidden,
            chunk=CHUNK[len(x_shape) == 3],
        )
    return MetaNetworks(
        net,
        _encoder(net, x_shape, likelihood, eyes=eyes, hidden=hidden, code=2 * code, blocks=blocks, width=body_width),
        NetworkGenerator(net, code, hidden=hidden, temperature=temperature, shared=shared),
        writer,
        likelihood,
        choose=choose,
        kl_weight=PRICE[isinstance(likelihood, Classification)] if kl_weight is None else kl_weight,
        cost_weight=cost_weight,
        entropy_weight=entropy_weight,
        exploration=exploration,
        sharpness=sharpness,
        draws=draws,
        inner_lr=inner_rate(x_shape) if inner_lr is None else inner_lr,
        inner_steps=inner_steps,
        first_order=first_order,
        clip=clip,
    )


SYSTEMS: dict[str, System] = {
    **meta_networks.SYSTEMS,
    "hypernetwork": System(
        _hypernetwork, "metanetworks", "ha2017hypernetworks", "one network reads the task and writes another's weights"
    ),
    "metanetworks": System(
        _metanetworks, "metanetworks", "liu2019darts", "for each task an architecture is written, then its weights"
    ),
}
