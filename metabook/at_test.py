"""What may be done with a trained classifier of images when it is tested: more looks, and practice."""

from __future__ import annotations

from collections.abc import Sequence

from metabook.fine_tuned import FineTuned
from metabook.learner import MetaLearner
from metabook.metric import BestView, ProtoNet
from metabook.tasks.distort import MILD, Distort
from metabook.views import Views


def at_test_time(
    learner: MetaLearner,
    x_shape: Sequence[int],
    *,
    views: int | None = None,
    best_views: int | None = None,
    fine_tune: int | None = None,
) -> MetaLearner:
    """``learner``, or a wrapper of it for inputs of shape x_shape = [C, H, W].

    views: average over so many mildly distorted copies of a task (``Views``). best_views: the most alike pair of so
    many copies of each image counts (``BestView``); one of the two at most. fine_tune: so many steps on distorted
    copies of the support set first (``FineTuned``). None leaves each of them out.

    Raises ValueError for inputs that are no images, both kinds of views, and what the wrappers raise.
    """
    for name, count in (("views", views), ("best_views", best_views), ("fine_tune", fine_tune)):
        if count is not None and len(x_shape) != 3:
            raise ValueError(f"{name}: inputs of shape {list(x_shape)} are no images; leave it out")
    if best_views is not None:
        if views is not None:
            raise ValueError(f"best_views: given with views {views}; give one of the two")
        if not isinstance(learner, ProtoNet):
            raise ValueError(f"best_views: given for {type(learner).__name__}; it is for prototypical networks")
        learner = BestView(learner, MILD, copies=best_views)
    elif views is not None:
        learner = Views(learner, MILD, copies=views)
    return learner if fine_tune is None else FineTuned(learner, Distort(), steps=fine_tune)
