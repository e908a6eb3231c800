"""Functions that call for different units: lines, parabolas, waves, hinges and steps."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_choice, check_count, check_range, check_weight
from metabook.episode import Episode
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.curves import draw_examples
from metabook.tasks.protocol import score_predictions

FAMILIES = ("linear", "quadratic", "sine", "hinge", "step")
#: Of each family the unit that can be it exactly, by its name in ``metabook.nn.operations``
UNIT = ("identity", "square", "sine", "relu", "step")
#: Of each family the ranges of |a|, w, c and b in y = a g(w (x - c)) + b
RANGES = (
    ((0.1, 0.6), (1.0, 1.0), (0.0, 0.0), (-1.0, 1.0)),
    ((0.05, 0.15), (1.0, 1.0), (-2.0, 2.0), (-2.0, 2.0)),
    ((0.5, 2.0), (0.8, 1.5), (-math.pi, math.pi), (-1.0, 1.0)),
    ((0.3, 1.0), (1.0, 1.0), (-2.5, 2.5), (-1.0, 1.0)),
    ((0.5, 2.0), (1.0, 1.0), (-3.0, 3.0), (-1.0, 1.0)),
)


class MixtureMember(NamedTuple):
    """What tells B functions apart, each [B]."""

    family: Tensor  #: int64, a place in ``FAMILIES``
    a: Tensor  #: slope, curvature or half the height; of either sign
    w: Tensor  #: radians per unit of x for a wave; 1 or -1 for the others
    c: Tensor  #: centre
    b: Tensor  #: offset


class FunctionMixture:
    """y = a g(w (x - c)) + b + noise, g one of z, z^2, sin z, max(0, z) and sign z: a family drawn for every task.

    A network of one hidden layer is one of them exactly with two units or fewer of the kind in ``UNIT`` (the step in
    the limit), and far from the others with few units of that kind. All families are equally likely.

    families: the first so many of ``FAMILIES``. only: the name of one of these; then all tasks are of it.
    shots, queries: examples per task in the support and in the query set.
    x_range: (low, high) of the inputs. query_range: of those of the query set, the same when None.
    noise: standard deviation of the noise on all targets.

    Raises TypeError or ValueError for counts below 1, more families than there are, an unknown one, a range that is
    not low <= high, and a negative noise.
    """

    x_shape = (1,)

    def __init__(
        self,
        *,
        families: int = 5,
        only: str | None = None,
        shots: int = 10,
        queries: int = 20,
        noise: float = 0.0,
        x_range: tuple[float, float] = (-5.0, 5.0),
        query_range: tuple[float, float] | None = None,
    ) -> None:
        self.likelihood = Regression()
        if check_count("families", families) > len(FAMILIES):
            raise ValueError(f"families: {families} given; 1 to {len(FAMILIES)} are allowed")
        self.families = families
        self.only = only if only is None else FAMILIES.index(check_choice("only", only, FAMILIES[:families]))
        self.shots, self.queries = check_count("shots", shots), check_count("queries", queries)
        self.noise, self.x_range = check_weight("noise", noise), check_range("x_range", x_range)
        self.query_range = self.x_range if query_range is None else check_range("query_range", query_range)

    def parameters(self, n: int, generator: torch.Generator) -> MixtureMember:
        """Family, a, w, c and b of n functions, each [n]."""
        device = generator.device
        family = torch.randint(self.families, (check_count("n", n),), generator=generator, device=device)
        if self.only is not None:
            family = torch.full_like(family, self.only)
        low, high = torch.tensor(RANGES, device=device)[family].unbind(-1)  # [n, 4] each
        a, w, c, b = (low + (high - low) * torch.rand(n, 4, generator=generator, device=device)).unbind(1)
        minus = torch.rand(2, n, generator=generator, device=device) < 0.5
        # a parabola or a hinge may open either way; a hinge may also rise to the left
        return MixtureMember(family, torch.where(minus[0], -a, a), torch.where(minus[1] & (family == 3), -w, w), c, b)

    def curve(self, parameters: MixtureMember, x: Tensor) -> Tensor:
        """The functions at x [B, S, 1], without noise: [B, S, 1]."""
        family, a, w, c, b = (p.view(-1, 1, 1) for p in parameters)
        z = w * (x - c)
        shapes = torch.cat([z, z.square(), z.sin(), z.clamp(min=0), z.sign()], -1)
        return a * shapes.gather(-1, family.expand(*x.shape)) + b

    def episode(self, parameters: MixtureMember, generator: torch.Generator) -> Episode:
        """New support and query examples of the given functions."""
        return draw_examples(
            partial(self.curve, parameters),
            len(parameters.family),
            (self.shots, self.queries),
            self.x_range,
            generator,
            self.noise,
            query_range=self.query_range,
        )

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: x and y [n, shots, 1] and [n, queries, 1] on the generator's device."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)
