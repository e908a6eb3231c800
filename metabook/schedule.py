"""How the rate of the meta-update changes during training."""

from __future__ import annotations

import math

from metabook.checks import check_choice

SCHEDULES = ("cosine",)
WARM_UP = 0.1  #: the part of a run in which the rate rises


def rate_factor(schedule: str | None, step: int, steps: int) -> float:
    """What the rate is multiplied by at ``step``, 0..steps - 1; 1 without a schedule.

    "cosine": it rises in a line from 0 over the first tenth, then falls to 0 as half a cosine (Loshchilov, Hutter 2017,
    arXiv:1608.03983, eq. 5, with one period).

    Raises ValueError for an unknown schedule.
    """
    if schedule is None:
        return 1.0
    check_choice("schedule", schedule, SCHEDULES)
    done = (step + 1) / (steps + 1)  # neither the first nor the last step has rate 0
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))
