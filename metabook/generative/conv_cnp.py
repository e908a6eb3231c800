"""Convolutional conditional neural processes: the support set as a function, and a network that moves with it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.checks import check_count, check_positive
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.mapping import run
from metabook.nn.set_conv import GridNet, SetConv, grid_around
from metabook.predictive import FLOOR, finite, normal


class Anchored(NamedTuple):
    """The support set, and the place from which its grid is counted."""

    x: Tensor  #: inputs minus the origin, [B, S]
    y: Tensor  #: [B, S, Dy]
    origin: Tensor  #: the middle between the least and the greatest input, [B, 1]


class ConvCNP(MetaLearner):
    """A conditional neural process that is translation equivariant: shift all inputs, and the predictions shift along.

    Gordon et al. (2020), arXiv:1910.13556, sec. 4, alg. 1. For inputs of one dimension.
    State: the support set with inputs counted from its middle, ``Anchored``: the function that the set convolution
        makes of it is computed where it is needed, around the queries.
    Chapter: generative.
    Differs: the grid is made of whole steps from the middle of the support set, where the paper's starts at a fixed
        place, and no layer pads. So a shift by any amount gives the same predictions, exact up to rounding, and no
        query sees where the grid ends. Dilated residual layers take the place of the paper's U-net; features are read
        off the grid as a local mean.

    net: from density and local means on the grid to features. decoder: from features, [B, Q, D], to mean and raw
        standard deviation, [B, Q, 2 Dy]. per_unit: grid points in an input unit. floor: the least standard deviation.

    Raises ValueError for a likelihood other than Regression, TypeError or ValueError for a count or floor too small;
        when called, for inputs of more than one dimension and for queries too far apart for a grid.
    """

    def __init__(
        self, net: GridNet, decoder: nn.Module, likelihood: Regression, *, per_unit: int = 16, floor: float = FLOOR
    ) -> None:
        if not isinstance(likelihood, Regression):
            raise ValueError(f"likelihood: {likelihood!r} given; predictions are Normal, Regression() is needed")
        super().__init__(likelihood)
        self.net, self.decoder = net, decoder
        self.spacing, self.floor = 1 / check_count("per_unit", per_unit), check_positive("floor", floor)
        self.enter, self.leave = SetConv(2 * self.spacing), SetConv(self.spacing)

    def adapt(self, support: Examples) -> Anchored:
        """The support set, its inputs counted from their middle."""
        x = _line(support.x, "support.x")
        origin = (x.amin(1, keepdim=True) + x.amax(1, keepdim=True)) / 2
        return Anchored(x - origin, support.y, origin)

    def predict(self, state: Anchored, query_x: Tensor) -> Distribution:
        """Normal with learned standard deviation; batch shape [B, Q]."""
        return normal(finite(self._outputs(state, query_x)), self.floor)

    def meta_loss(self, batch: Episode) -> Tensor:
        """Mean negative log-likelihood of the queries in nats."""
        outputs = self._outputs(self.adapt(batch.support), batch.query.x)
        return -normal(outputs, self.floor).log_prob(batch.query.y).mean()

    def _outputs(self, state: Anchored, query_x: Tensor) -> Tensor:
        x = _line(query_x, "query_x") - state.origin
        seen = 1 + int(self.leave.tail() / self.spacing)  # grid points that a query reads, on either side
        grid = grid_around(x.detach(), self.spacing, seen + self.net.reach)  # [B, n]
        # E(S)(u) = (density, local mean), f = CNN(E), (mu, sigma)(x) = rho(f)(x)          (alg. 1)
        f = self.net(self.enter.to_grid(grid, state.x, state.y))
        inner = grid[:, self.net.reach : grid.shape[1] - self.net.reach]
        return run(self.decoder, self.leave.from_grid(inner, f, x))


def _line(x: Tensor, name: str) -> Tensor:
    """x [B, S, 1] as [B, S]; else ValueError."""
    if x.shape[2:] != (1,):
        raise ValueError(f"{name}: inputs of shape {list(x.shape[2:])} given; a ConvCNP needs inputs on a line, [1]")
    return x.squeeze(-1)
