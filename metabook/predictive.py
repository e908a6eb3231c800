"""Predictions that say how sure they are: a Normal with a learned standard deviation, and what its band should hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from metabook.checks import check_positive

FLOOR = 0.01  #: the least standard deviation, in the units of the targets


def normal(outputs: Tensor, floor: float = FLOOR) -> Independent:
    """Normal predictions from outputs [..., B, Q, 2 Dy]: the means first, then what the standard deviations come from.

    The batch shape is [..., B, Q], the event shape [Dy]: given the state, the Dy targets of a query are independent.

    floor: the least standard deviation. Without one the density grows without bound where a target is met exactly; one
        above the noise of the targets costs log-likelihood that no training wins back.
    """
    mean, raw = outputs.chunk(2, -1)
    # sigma = floor + log(1 + e^raw)
    return Independent(Normal(mean, floor + F.softplus(raw), validate_args=False), 1, validate_args=False)


def finite(outputs: Tensor) -> Tensor:
    """``outputs``; FloatingPointError if one of them is not finite."""
    right = torch.isfinite(outputs)
    if not bool(right.all()):
        raise FloatingPointError(
            f"outputs: {int((~right).sum())} of {outputs.numel()} not finite; lower the lr it was trained with"
        )
    return outputs


def probability_below(predictions: Distribution, y: Tensor) -> Tensor:
    """P(target <= y) for every target by itself, [B, Q, Dy]. y: [B, Q, Dy].

    The distribution function of Normals and of mixtures; with latent samples, batch shape [L, B, Q], its mean over
    them. If predictions are right, these numbers are uniform between 0 and 1 (the probability integral transform;
    Gneiting, Balabdaoui, Raftery 2007, doi:10.1111/j.1467-9868.2007.00587.x, sec. 2).

    Raises NotImplementedError for predictions that have no distribution function, such as classes.
    """
    single = predictions.base_dist if isinstance(predictions, Independent) else predictions
    below = single.cdf(y)
    return below if below.dim() == y.dim() else below.mean(0)


def covered(predictions: Distribution, y: Tensor, *, level: float = 0.9) -> Tensor:
    """The part of a task's targets that lies in the central interval of probability ``level``, [B].

    The interval leaves out (1 - level) / 2 on either side. Its ends need not be computed: a target lies in it where
    ``probability_below`` lies between these two numbers. Right predictions cover ``level`` of the targets on average.

    Raises TypeError or ValueError unless level is between 0 and 1.
    """
    if check_positive("level", level) >= 1:
        raise ValueError(f"level: {level} given; a number between 0 and 1 is needed")
    inside = (probability_below(predictions, y) - 0.5).abs() < level / 2
    return inside.to(y.dtype).flatten(1).mean(1)
