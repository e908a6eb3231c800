"""Layer augmentation: layers that add to what their slow weights say what fast weights say, given from outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metabook.checks import check_count


class Augmented(nn.Module):
    """A layer with slow weights W and room for fast weights W*: h -> relu(W h) + relu(W* h) + ..., without biases.

    Munkhdalai and Yu (2017), arXiv:1703.00837, sec. 3.3.

    Linear, [B, S, I] -> [B, S, O]; with ``kernel`` a convolution of that odd size that keeps the image's size,
    [B, S, I, H, W] -> [B, S, O, H, W]. Either way the weights are a matrix [O, K], K = I or I * kernel^2, and act on
    the K inputs of each of L places (``columns``). Fast weights are [B, O, K], a task's, or [B, S, O, K], an example's.

    activate: False leaves the ReLUs out: the sum of the products, as the paper has it before a softmax.

    Raises TypeError or ValueError for counts below 1 and an even kernel.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int | None = None, activate: bool = True) -> None:
        super().__init__()
        k = check_count("inputs", inputs)
        if kernel is not None:
            if check_count("kernel", kernel) % 2 == 0:
                raise ValueError(f"kernel: {kernel} given; an odd number keeps the image's size")
            k = inputs * kernel**2
        self.kernel, self.activate = kernel, activate
        self.weight = nn.Parameter(torch.empty(check_count("outputs", outputs), k))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as torch does

    def columns(self, x: Tensor) -> Tensor:
        """What the weights act on, [B, S, L, K]: the inputs of each place; one place where there is no image."""
        if self.kernel is None:
            return x.unsqueeze(2)
        patches = F.unfold(x.flatten(0, 1), self.kernel, padding=self.kernel // 2)
        return patches.mT.unflatten(0, x.shape[:2])

    def shaped(self, y: Tensor, x: Tensor) -> Tensor:
        """Values of places [B, S, L, O] in the shape that goes with the input ``x``."""
        return y.squeeze(2) if self.kernel is None else y.mT.unflatten(3, x.shape[3:])

    def forward(self, x: Tensor, *fast: Tensor, slow: bool = True) -> Tensor:
        """[B, S, I] -> [B, S, O] or [B, S, I, H, W] -> [B, S, O, H, W]. slow: False leaves out the slow weights."""
        columns = self.columns(x)
        weights = [*((self.weight,) if slow else ()), *fast]
        parts = [product(columns, w) for w in weights]
        return self.shaped(torch.stack([F.relu(p) if self.activate else p for p in parts]).sum(0), x)


def product(columns: Tensor, weight: Tensor) -> Tensor:
    """Weights times inputs, [B, S, L, O]. columns: [B, S, L, K]; weight: [O, K], [B, O, K] or [B, S, O, K]."""
    if weight.dim() == 2:
        return F.linear(columns, weight)
    if weight.dim() == 3:
        return (columns.flatten(1, 2) @ weight.mT).unflatten(1, columns.shape[1:3])
    return columns @ weight.mT


class AugmentedNet(nn.Module):
    """A body without fast weights, then augmented layers; and the gradient of every example's own loss in them.

    body: any module from inputs to features [B, S, F], or to maps [B, S, C, H, W] with ``maps``; every example by
        itself or with its task, as those of ``metabook.nn`` do. widths: F or C, then the outputs of each layer.
    maps: the first so many layers are 3x3 convolutions, each followed by 2x2 max-pooling; their maps are flattened for
        the linear layers, the first of which finds side^2 numbers a channel. The last layer has no ReLU.

    Fast weights of the whole network are one vector, [B, P] or [B, S, P] (``size`` is P).

    Raises TypeError or ValueError for fewer than two widths, counts below 1, and no linear layer.
    """

    def __init__(self, body: nn.Module, widths: Sequence[int], *, maps: int = 0, side: int = 1) -> None:
        super().__init__()
        count = len(widths) - 1
        if count < 1 or check_count("maps", maps, least=0) >= count:
            raise ValueError(f"widths: {tuple(widths)} given with maps={maps}; inputs and at least one linear layer")
        self.body, self.maps, layers = body, maps, []
        for n, (i, o) in enumerate(pairwise(widths)):
            inputs = i * side**2 if 0 < n == maps else i
            layers.append(Augmented(inputs, o, kernel=3 if n < maps else None, activate=n < count - 1))
        self.layers = nn.ModuleList(layers)
        self.shapes = [layer.weight.shape for layer in layers]
        self.size = sum(s.numel() for s in self.shapes)  #: P, the number of weights that can be fast

    def forward(self, features: Tensor, *fast: Tensor, slow: bool = True) -> Tensor:
        """Outputs [B, S, O] from the body's features. fast: [B, P] or [B, S, P] each."""
        x, split = features, [self.split(vector) for vector in fast]
        for n, layer in enumerate(self.layers):
            x = self._after(n, layer(x, *[weights[n] for weights in split], slow=slow))
        return x

    def split(self, vector: Tensor) -> list[Tensor]:
        """Weights of all layers as one vector [..., P], cut into those of each layer, [..., O, K]."""
        parts = vector.split([s.numel() for s in self.shapes], -1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def gradients(
        self, features: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], *, create_graph: bool = False
    ) -> Tensor:
        """The gradient of each example's own loss in the slow weights, [B, S, P], all from one backward pass.

        loss: outputs [B, S, O] and targets -> a scalar, the sum of the losses of all examples. The loss of one must
            not depend on the outputs of another, or its gradient is counted as that of the other.
        create_graph: the result can be differentiated; else it is detached.
        """
        x, columns, probes = features, [], []
        with torch.enable_grad():
            for n, layer in enumerate(self.layers):
                assert isinstance(layer, Augmented)
                columns.append(layer.columns(x))
                z = product(columns[-1], layer.weight)
                probes.append(torch.zeros_like(z, requires_grad=True))  # its gradient is that of z
                z = z + probes[-1]
                x = self._after(n, layer.shaped(F.relu(z) if layer.activate else z, x))
            deltas = torch.autograd.grad(loss(x, targets), probes, create_graph=create_graph)
            # dL/dW = sum over the places of dL/dz times the input of the place
            grads = [(d.mT @ c).flatten(2) for d, c in zip(deltas, columns, strict=True)]
        flat = torch.cat(grads, -1)
        return flat if create_graph else flat.detach()

    def _after(self, n: int, x: Tensor) -> Tensor:
        """What follows layer ``n``: pooling after a convolution, and flattening after the last of them."""
        if n < self.maps:
            x = F.max_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])
        return x.flatten(2) if n == self.maps - 1 else x
