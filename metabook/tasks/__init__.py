"""Distributions over tasks."""

from metabook.tasks.clusters import Clusters
from metabook.tasks.gaussian_process import GaussianProcess
from metabook.tasks.linear import LinearRegression
from metabook.tasks.protocol import Tasks, score_predictions
from metabook.tasks.sinusoids import Sinusoids

__all__ = ["Clusters", "GaussianProcess", "LinearRegression", "Sinusoids", "Tasks", "score_predictions"]
