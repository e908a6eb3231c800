"""A convolutional network that spends its work on wide late layers, for comparing small drawings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from metabook.checks import check_choice, check_count
from metabook.nn.layers import Conv2d, Linear
from metabook.nn.networks import NORMS, after_convolution


class RunningNorm(nn.BatchNorm2d):
    """Ordinary batch normalisation over all examples of all tasks, [B, S, C, H, W] -> the same shape.

    In training mode the statistics are those of the call, and running averages of them are kept; in evaluation mode
    the averages are used, and no example depends on another. Never for an inner loop.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return super().forward(x.flatten(0, 1)).view(x.shape)


class Strided(nn.Module):
    """Four convolutions that get wider as the image gets smaller; the features keep where things are.

    5x5 with stride 2, then 3x3 three times with pooling after the second and the third:
    [B, S, C, H, W] -> [B, S, D] with D = widths[3] * (H / 8) * (W / 8), rounded up by the stride and down by the pools.
    A ``Conv4`` of 64 channels does three quarters of its work in its second layer; here no layer does most of it.

    outputs: of a linear layer at the end, which needs ``size``, the side of the images; None for none.
    maps: leave out the second pooling and the last ReLU and return maps [B, S, widths[3], H / 4, W / 4], for comparing
        place by place.
    norm: "batch" (each task's own batch statistics: transductive), "group" (inductive), "running" (``RunningNorm``,
        inductive in evaluation mode) or "none".

    Raises TypeError or ValueError for counts below 1, not four widths, an unknown norm, outputs of maps.
    """

    takes_tasks = True

    def __init__(
        self,
        channels: int,
        outputs: int | None = None,
        *,
        size: int = 28,
        widths: Sequence[int] = (32, 64, 128, 128),
        norm: str = "group",
        maps: bool = False,
    ) -> None:
        super().__init__()
        check_choice("norm", norm, (*NORMS, "running"))
        sizes = [check_count("channels", channels), *(check_count("widths", width) for width in widths)]
        if len(sizes) != 5:
            raise ValueError(f"widths: {len(sizes) - 1} of them given; four are needed")
        if maps and outputs is not None:
            raise ValueError(f"outputs: {outputs} given with maps=True; maps have no linear layer at the end")
        layers: list[nn.Module] = []
        for i in range(4):
            kernel, stride = (5, 2) if i == 0 else (3, 1)
            layers.append(
                Conv2d(sizes[i], sizes[i + 1], kernel, stride=stride, padding=kernel // 2, bias=norm == "none")
            )
            layers += [RunningNorm(sizes[i + 1])] if norm == "running" else []
            layers += after_convolution(sizes[i + 1], norm, pool=i == 1 or (i == 2 and not maps))
        self.features = nn.Sequential(*(layers[:-1] if maps else layers))
        self.maps = maps
        places = ((size + 1) // 2 // 4) ** 2
        self.head = nn.Identity() if outputs is None else Linear(sizes[4] * places, check_count("outputs", outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C, H, W] -> [B, S, D], or with ``maps`` [B, S, D, H / 4, W / 4]."""
        z: Tensor = self.features(x)
        return z if self.maps else self.head(z.flatten(2))
