"""How alike two representations of the same examples are, and how to read a network's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Centred kernel alignment of two representations, between 0 and 1.

    Kornblith, Norouzi, Lee, Hinton (2019), arXiv:1905.00414, eq. 4 with linear kernels. Rotating, mirroring, shifting
    or scaling either representation changes nothing; 1 says that the two are alike up to that. With fewer examples than
    features it is high even for unrelated representations, so take many more examples than features.

    x: [..., n, d1], y: [..., n, d2], features of the same n examples; returns [...], one number a task.

    Raises ValueError if the leading shapes differ, and if a representation is the same for all examples or not finite:
    then there is nothing to compare.
    """
    if x.dim() < 2 or y.dim() < 2 or x.shape[:-1] != y.shape[:-1]:
        raise ValueError(f"y: shape {list(y.shape)} given; [..., n, d2] is needed, n examples as in x, {list(x.shape)}")
    kernels = []
    for name, features in (("x", x), ("y", y)):
        centred = features - features.mean(-2, keepdim=True)
        scale = centred.abs().amax((-2, -1), keepdim=True)
        # Features that differ by the rounding of their mean alone are the same; (NaN > noise) is False too.
        noise = features.abs().amax((-2, -1), keepdim=True) * torch.finfo(features.dtype).eps * x.shape[-2]
        if not bool(((scale > noise) & torch.isfinite(scale)).all()):
            raise ValueError(f"{name}: the features of all {x.shape[-2]} examples are the same, or not finite")
        centred = centred / scale  # CKA does not depend on it, and fourth powers stay in range
        kernels.append(centred @ centred.mT)
    k, m = kernels
    # CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), with HSIC(K, L) = tr(K L) of the centred kernels      (eq. 3-4)
    return (k * m).sum((-2, -1)) / (k.square().sum((-2, -1)) * m.square().sum((-2, -1))).sqrt()


def representations(
    net: nn.Module, x: Tensor, phi: Mapping[str, Tensor] | None = None, *, layers: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """What the layers of a network put out for every example: layer name -> [B, S, d], flat, in order, without a graph.

    x: [B, S, *X]. phi: weights of each task, name -> [B, *p]; None for the network's own. So the layers before and
    after adaptation are ``representations(net, x)`` and ``representations(net, x, learner.adapt(support))``.
    layers: names of modules, as ``net.named_modules()`` has them; all that contain no others when None. Of a module
    that is used twice it is the last output.

    Raises ValueError for a name that is not a module of the network.
    """
    modules = dict(net.named_modules())
    if layers is None:
        layers = [name for name, module in modules.items() if not list(module.children())]
    unknown = [name for name in layers if name not in modules]
    if unknown:
        raise ValueError(f"layers: {unknown[0]!r} given; allowed are {', '.join(filter(None, modules))}")
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, task: int) -> RemovableHandle:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            outputs = seen.setdefault(name, [])
            outputs[task:] = [output.detach().reshape(x.shape[1], -1)]

        return modules[name].register_forward_hook(hook)

    one = slice(None) if getattr(net, "takes_tasks", False) else 0  # a task alone keeps its dimension, or not
    with torch.no_grad():
        for b in range(len(x)):
            handles = [keep(name, b) for name in layers]
            try:
                weights = {} if phi is None else {k: v[b : b + 1][one] for k, v in phi.items()}
                functional_call(net, weights, (x[b : b + 1][one],))
            finally:
                for handle in handles:
                    handle.remove()
    return {name: torch.stack(outputs) for name, outputs in seen.items()}
