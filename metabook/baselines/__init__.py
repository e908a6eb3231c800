"""What every system is compared with: joint training, distances of pixels, and the exact optima of some tasks."""

from metabook.baselines.clusters import BayesClusters
from metabook.baselines.functions import BayesFunctions
from metabook.baselines.gaussian_process import ExactGP, FittedGP
from metabook.baselines.hausdorff import ModifiedHausdorff
from metabook.baselines.joint import Joint
from metabook.baselines.linear import BayesLinear

__all__ = ["BayesClusters", "BayesFunctions", "BayesLinear", "ExactGP", "FittedGP", "Joint", "ModifiedHausdorff"]
