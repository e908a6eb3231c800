"""The list of task distributions by name, each with its train, validation and test part."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from metabook.checks import check_choice
from metabook.tasks.characters import (
    challenge_tasks,
    character_domain_tasks,
    digit_tasks,
    folder_tasks,
    glyph_tasks,
    mnist_tasks,
    omniglot_tasks,
)
from metabook.tasks.clusters import Clusters
from metabook.tasks.completion import glyph_completion_tasks, omniglot_completion_tasks
from metabook.tasks.function_families import FunctionFamilies
from metabook.tasks.function_mixture import FunctionMixture
from metabook.tasks.gaussian_process import GaussianProcess
from metabook.tasks.lifted import lifted_mixture_tasks
from metabook.tasks.linear import LinearRegression
from metabook.tasks.mixed_curvature import MixedCurvature
from metabook.tasks.named_sinusoids import named_sinusoid_tasks
from metabook.tasks.network_training import NetworkTraining
from metabook.tasks.permuted import permuted_glyph_tasks
from metabook.tasks.protocol import Tasks
from metabook.tasks.quadratics import Quadratics
from metabook.tasks.sinusoids import Sinusoids

PARTS = ("train", "validation", "test")


class TaskFamily(NamedTuple):
    """One entry: how to build the tasks of a family.

    A family of endless tasks (functions of its options alone) draws the tasks of every part from one distribution: two
    draws never meet. A family over a data set gives each part classes of its own, the digits drawings of its own, and
    its ``make`` takes the part.
    """

    make: Callable[..., Tasks]  #: (**options) -> tasks, or (part, **options) -> tasks
    idea: str

    def build(self, part: str, **options: Any) -> Tasks:
        """The tasks of ``part``. Raises ValueError for an unknown part, and what the data set raises."""
        check_choice("part", part, PARTS)
        takes_part = "part" in inspect.signature(self.make).parameters
        return self.make(part, **options) if takes_part else self.make(**options)

    def options(self) -> dict[str, Any]:
        """Option name -> default value."""
        parameters = inspect.signature(self.make).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


TASKS: dict[str, TaskFamily] = {
    "sinusoids": TaskFamily(Sinusoids, "sines of random amplitude and phase (Finn et al. 2017)"),
    "named-sinusoids": TaskFamily(
        named_sinusoid_tasks, "sines whose input names the amplitude; new tasks are misnamed (Yin et al. 2020)"
    ),
    "function-families": TaskFamily(
        FunctionFamilies, "waves, lines, parabolas, kinks and steps: many modes (Vuorio et al. 2019)"
    ),
    "function-mixture": TaskFamily(
        FunctionMixture, "lines, parabolas, waves, hinges and steps: each calls for another unit"
    ),
    "lifted-mixture": TaskFamily(
        lifted_mixture_tasks,
        "the same functions along a direction of one to three inputs, not as many in every task",
    ),
    "linear": TaskFamily(LinearRegression, "linear functions with noise; the Bayes optimum is known"),
    "mixed-curvature": TaskFamily(MixedCurvature, "linear functions, inputs in other units each; the optimum is known"),
    "quadratics": TaskFamily(Quadratics, "random quadratics to minimise (Andrychowicz et al. 2016)"),
    "network-training": TaskFamily(NetworkTraining, "training a small network on printed letters, for optimisers"),
    "clusters": TaskFamily(Clusters, "Gaussian clusters; the Bayes optimum is known"),
    "gp": TaskFamily(GaussianProcess, "draws from a Gaussian process; the posterior is known"),
    "glyphs": TaskFamily(glyph_tasks, "printed letters of many scripts, shipped with the package"),
    "digits": TaskFamily(digit_tasks, "handwritten digits that come with scikit-learn; the parts share classes"),
    "mnist": TaskFamily(mnist_tasks, "handwritten digits (LeCun et al. 1998); the parts share classes"),
    "permuted-glyphs": TaskFamily(
        permuted_glyph_tasks, "printed letters, half of the tasks with all pixels moved by one permutation"
    ),
    "omniglot": TaskFamily(omniglot_tasks, "handwritten letters of many alphabets (Lake et al. 2015)"),
    "character-domains": TaskFamily(
        character_domain_tasks, "printed or handwritten letters, nobody says which; a mixture of two domains"
    ),
    "omniglot-challenge": TaskFamily(challenge_tasks, "the 20 official within-alphabet 20-way one-shot runs"),
    "glyph-completion": TaskFamily(glyph_completion_tasks, "printed letters to complete from some of their pixels"),
    "omniglot-completion": TaskFamily(
        omniglot_completion_tasks, "handwritten letters to complete from some of their pixels (Garnelo et al. 2018)"
    ),
    "folder": TaskFamily(folder_tasks, "your own images, one folder a class: folder:PATH"),
}
