"""Feature maps, and the network that says how well a query's map and a class's map go together."""

from __future__ import annotations

from torch import Tensor, nn

from metabook.checks import check_choice, check_count
from metabook.nn.layers import Conv2d, Linear
from metabook.nn.networks import NORMS, after_convolution


class FeatureMaps(nn.Module):
    """Four convolution blocks of which the first two pool: [B, S, C, H, W] -> [B, S, width, H // 4, W // 4].

    Sung et al. (2018), sec. 3.4: the maps stay large enough to be compared place by place.

    size: the shorter side of the images; the relation module halves the maps twice more, so at least 16.
    norm: "batch" (each task's own batch statistics: transductive), "group" (inductive) or "none".
    """

    takes_tasks = True

    def __init__(self, channels: int, *, width: int = 64, size: int = 28, norm: str = "batch") -> None:
        super().__init__()
        check_choice("norm", norm, NORMS)
        check_count("width", width)
        if check_count("size", size) < 16:
            raise ValueError(f"size: {size} pixels given; maps that are halved four times need at least 16")
        layers: list[nn.Module] = []
        for i in range(4):
            layers.append(Conv2d(check_count("channels", channels) if i == 0 else width, width, 3, padding=1))
            layers += after_convolution(width, norm, pool=i < 2)
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C, H, W] -> [B, S, width, H // 4, W // 4]."""
        features: Tensor = self.features(x)
        return features


class RelationModule(nn.Module):
    """One number for every pair of a query and a class, before the sigmoid: [B, Q, *F], [B, N, *F] -> [B, Q, N].

    Sung et al. (2018), eq. 1: g(C(f_class, f_query)), where C concatenates in depth and g is a network. Its first layer
    is linear in the concatenation: W [c; q] = W_c c + W_q q. So this layer runs N + Q times, not N * Q times.

    of_class, of_query: W_c and W_q, [B, n, *F] -> [B, n, *Y]; rest: what follows, [B, n, *Y] -> [B, n, 1].
    """

    def __init__(self, of_class: nn.Module, of_query: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.of_class, self.of_query, self.rest = of_class, of_query, rest

    def forward(self, query: Tensor, classes: Tensor) -> Tensor:
        """query: [B, Q, *F]; classes: [B, N, *F]. Returns [B, Q, N]."""
        # W [c; q] = W_c c + W_q q, for all Q * N pairs
        pairs = self.of_query(query).unsqueeze(2) + self.of_class(classes).unsqueeze(1)  # [B, Q, N, *Y]
        scores: Tensor = self.rest(pairs.flatten(1, 2))  # [B, Q * N, 1]
        return scores.view(pairs.shape[:3])


def compare_maps(width: int, size: int, *, norm: str = "batch", hidden: int = 8) -> RelationModule:
    """The paper's relation module for maps [width, size, size]: two convolution blocks that pool, two linear layers.

    Sung et al. (2018), sec. 3.4 and fig. 2. size: at least 4.

    Raises TypeError or ValueError for an option out of range.
    """
    check_choice("norm", norm, NORMS)
    check_count("size", size, least=4)
    head = [Linear(width * (size // 4) ** 2, check_count("hidden", hidden)), nn.ReLU(), Linear(hidden, 1)]
    second = [Conv2d(width, width, 3, padding=1), *after_convolution(width, norm)]
    return RelationModule(
        of_class=Conv2d(width, width, 3, padding=1),
        of_query=Conv2d(width, width, 3, padding=1, bias=False),
        rest=nn.Sequential(*after_convolution(width, norm), *second, nn.Flatten(2), *head),
    )


def compare_vectors(features: int, width: int) -> RelationModule:
    """A relation module for vectors of ``features`` numbers: linear layers with ReLU, two hidden ones of ``width``."""
    check_count("width", width)
    return RelationModule(
        of_class=Linear(check_count("features", features), width),
        of_query=Linear(features, width, bias=False),
        rest=nn.Sequential(nn.ReLU(), Linear(width, width), nn.ReLU(), Linear(width, 1)),
    )
