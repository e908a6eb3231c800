"""Distributions over tasks."""

from metabook.tasks.challenge import OmniglotChallenge
from metabook.tasks.clusters import Clusters
from metabook.tasks.completion import ImageCompletion
from metabook.tasks.composed import Composed
from metabook.tasks.distort import Distort
from metabook.tasks.embedded import Embedded
from metabook.tasks.function_families import FunctionFamilies
from metabook.tasks.function_mixture import FunctionMixture
from metabook.tasks.gaussian_process import GaussianProcess
from metabook.tasks.images import FewShot
from metabook.tasks.lifted import Lifted
from metabook.tasks.linear import LinearRegression
from metabook.tasks.mixed_curvature import MixedCurvature
from metabook.tasks.mixture import Mixture
from metabook.tasks.named_sinusoids import NamedSinusoids
from metabook.tasks.permuted import Permuted
from metabook.tasks.protocol import Tasks, score_predictions
from metabook.tasks.quadratics import Quadratics
from metabook.tasks.sinusoids import Sinusoids

__all__ = [
    "Clusters",
    "Composed",
    "Distort",
    "Embedded",
    "FewShot",
    "FunctionFamilies",
    "FunctionMixture",
    "GaussianProcess",
    "ImageCompletion",
    "Lifted",
    "LinearRegression",
    "MixedCurvature",
    "Mixture",
    "NamedSinusoids",
    "OmniglotChallenge",
    "Permuted",
    "Quadratics",
    "Sinusoids",
    "Tasks",
    "score_predictions",
]
