"""Predictions that say how sure they are: a Normal with a learned standard deviation, and what its band should hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal

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
