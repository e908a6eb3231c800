"""What every system is compared with: joint training, and the exact optima of the tasks that have one."""

from metabook.baselines.clusters import BayesClusters
from metabook.baselines.gaussian_process import ExactGP
from metabook.baselines.joint import Joint
from metabook.baselines.linear import BayesLinear

__all__ = ["BayesClusters", "BayesLinear", "ExactGP", "Joint"]
