"""Random functions from a Gaussian process: the regression tasks of neural processes."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.checks import check_choice, check_count, check_positive, check_range
from metabook.episode import Episode, Examples
from metabook.kernels import KERNELS, covariance, precise
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.tasks.protocol import score_predictions


class GaussianProcess:
    """y = f(x) + noise * e with f from a Gaussian process of mean 0 and variance 1, x uniform and e ~ N(0, 1).

    The optimum is ``metabook.baselines.ExactGP`` with the same length_scale, noise and kernel.

    shots: support examples per task; a pair (low, high) draws one number for each batch, the same in all its tasks
        (so a mean over tasks needs many batches: ``evaluate(..., batch=10)`` rather than 100).
    queries: query examples per task; their targets are noisy too.
    length_scale: (low, high) of a uniform distribution, one draw a task; a single number fixes it.
    noise: standard deviation of the noise on y. kernel: "rbf", "matern52" or "periodic" (period 1).
    x_range: (low, high) of the inputs. told: the task's length-scale stands beside every input, as its second number;
        functions and targets are those of the same draws without it.

    Raises TypeError or ValueError for counts below 1, length-scales or a noise that are not above 0, ranges that are
    not low <= high, and an unknown kernel.
    """

    def __init__(
        self,
        *,
        shots: int | tuple[int, int] = 10,
        queries: int = 50,
        length_scale: float | tuple[float, float] = (0.25, 1.0),
        noise: float = 0.05,
        kernel: str = "rbf",
        x_range: tuple[float, float] = (-2.0, 2.0),
        told: bool = False,
    ) -> None:
        self.likelihood = Regression()
        self.shots = _counts(shots)
        self.queries = check_count("queries", queries)
        self.length_scale = check_range("length_scale", length_scale)
        check_positive("length_scale", self.length_scale[0])
        self.noise = check_positive("noise", noise)
        self.kernel = check_choice("kernel", kernel, KERNELS)
        self.x_range = check_range("x_range", x_range)
        self.told = told
        self.x_shape = (2,) if told else (1,)

    def parameters(self, n: int, generator: torch.Generator) -> Tensor:
        """The length-scales of n tasks, [n]."""
        draws = torch.empty(check_count("n", n), device=generator.device)
        return draws.uniform_(*self.length_scale, generator=generator)

    def episode(self, parameters: Tensor, generator: torch.Generator) -> Episode:
        """A new function, support and query examples for each of the length-scales ``parameters`` [B]."""
        low, high = self.shots
        device, s = generator.device, low
        if low < high:
            s = int(torch.randint(low, high + 1, (), device=device, generator=generator))
        shape = (len(parameters), s + self.queries, 1)
        x = torch.empty(shape, device=device).uniform_(*self.x_range, generator=generator)
        e = torch.randn(shape, device=device, generator=generator)
        # y ~ N(0, K + noise^2 I): function and noise in one draw
        inputs = precise(x)
        k = covariance(self.kernel, inputs, inputs, precise(parameters))
        k.diagonal(dim1=-2, dim2=-1).add_(self.noise**2 + 1e-10)
        y = (torch.linalg.cholesky(k) @ precise(e)).to(x)
        if self.told:
            x = torch.cat([x, parameters.to(x).view(-1, 1, 1).expand(shape)], -1)
        return Episode(Examples(x[:, :s], y[:, :s]), Examples(x[:, s:], y[:, s:]))

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n independent tasks: y [n, shots, 1] and [n, queries, 1], x alike or with two columns if told."""
        return self.episode(self.parameters(n, generator), generator)

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """mse and nll of each task, [B]."""
        return score_predictions(learner, batch)


def _counts(shots: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(shots, (tuple, list)):
        return check_count("shots", shots), shots
    if len(shots) != 2 or check_count("shots", shots[0]) > check_count("shots", shots[1]):
        raise ValueError(f"shots: {shots!r} given; a whole number or a pair (low, high) with low <= high is needed")
    return shots[0], shots[1]
