"""The exact optima by name, for recorded tables: each is told the distribution of one family of tasks."""

from __future__ import annotations

from metabook.baselines import BayesClusters, ExactGP
from metabook.likelihood import Classification, Regression
from metabook.systems.entry import Shape, System


def _bayes_clusters(
    x_shape: Shape, likelihood: Classification, *, spread: float = 3.0, noise: float = 1.0
) -> BayesClusters:
    return BayesClusters(likelihood.size, spread=spread, noise=noise)


def _exact_gp(
    x_shape: Shape,
    likelihood: Regression,
    *,
    length_scale: float | tuple[float, float] = (0.25, 1.0),
    noise: float = 0.05,
    kernel: str = "rbf",
) -> ExactGP:
    return ExactGP(length_scale=length_scale, noise=noise, kernel=kernel)


OPTIMA: dict[str, System] = {
    "bayes-clusters": System(
        _bayes_clusters, "metric", "", "Bayes' rule for Gaussian clusters (optimum)", (Classification,)
    ),
    "exact-gp": System(
        _exact_gp, "generative", "", "the exact posterior of a Gaussian process (optimum)", (Regression,), dims=1
    ),
}
