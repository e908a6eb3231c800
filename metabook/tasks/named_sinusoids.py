"""Sine waves that carry their name: tasks that a network can solve without a look at the support set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabook.checks import check_count, check_range, check_weight
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.curves import draw_examples
from metabook.tasks.protocol import score_predictions


class NamedSinusoid(NamedTuple):
    """What tells B tasks apart, each [B]."""

    amplitude: Tensor
    name: Tensor  #: int64, 0..names-1


class NamedSinusoids:
    """y = amplitude * sin(x) + noise, where every input also holds the task's name: (x, one-hot name).

    Yin, Tucker, Zhou, Levine, Finn (2020), arXiv:1912.03820, sec. 6.1: amplitudes 0.1 to 4, x uniform in [-5, 5],
    noise 0.1. In training a task's amplitude stands on a grid of ``names`` values, and its name says which: a network
    that has learned the grid by heart needs no support set (the tasks are not mutually exclusive). New tasks take any
    amplitude of the range, under the name of a random grid value: the name says nothing, the support set all.

    new: False for the tasks of training, True for new ones.
    names: number of grid values. amplitude, x_range: (low, high). noise: standard deviation, of all targets.

    Raises TypeError or ValueError for counts below 1, fewer than 2 names, ranges that are not low <= high, and a
    negative noise.
    """

    def __init__(
        self,
        *,
        new: bool = False,
        shots: int = 5,
        queries: int = 10,
        names: int = 20,
        amplitude: tuple[float, float] = (0.1, 4.0),
        x_range: tuple[float, float] = (-5.0, 5.0),
        noise: float = 0.1,
    ) -> None:
        self.likelihood = Regression()
        self.new = new
        self.shots = check_count("shots", shots)
        self.queries = check_count("queries", queries)
        self.names = check_count("names", names, least=2)
        self.amplitude = check_range("amplitude", amplitude)
        self.x_range = check_range("x_range", x_range)
        self.noise = check_weight("noise", noise)
        self.x_shape = (1 + names,)

    def parameters(self, n: int, generator: torch.Generator) -> NamedSinusoid:
        """Amplitude and name of n tasks, each [n]."""
        device, (low, high) = generator.device, self.amplitude
        name = torch.randint(self.names, (check_count("n", n),), generator=generator, device=device)
        if self.new:
            return NamedSinusoid(torch.empty(n, device=device).uniform_(low, high, generator=generator), name)
        return NamedSinusoid(torch.linspace(low, high, self.names, device=device)[name], name)

    def episode(self, parameters: NamedSinusoid, generator: torch.Generator) -> Episode:
        """New support and query examples of the given tasks."""
        amplitude, sizes = parameters.amplitude.view(-1, 1, 1), (self.shots, self.queries)
        waves = draw_examples(lambda x: amplitude * x.sin(), len(amplitude), sizes, self.x_range, generator, self.noise)
        named = torch.nn.functional.one_hot(parameters.name, self.names).to(amplitude.dtype).unsqueeze(1)
        beside = (torch.cat([part.x, named.expand(-1, part.x.shape[1], -1)], 2) for part in waves)
        return Episode(*(Examples(x, part.y) for x, part in zip(beside, waves, strict=True)))

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: x [n, S, 1 + names], y [n, S, 1] on the generator's device."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)


def named_sinusoid_tasks(
    part: str, *, shots: int = 5, queries: int = 10, names: int = 20, noise: float = 0.1, random_names: bool = False
) -> NamedSinusoids:
    """The named sine waves of a part: those of training, or new ones for validation and test.

    random_names: train on waves like the new ones, whose names say nothing; such tasks are mutually exclusive.
    """
    new = random_names or part != "train"
    return NamedSinusoids(new=new, shots=shots, queries=queries, names=names, noise=noise)
