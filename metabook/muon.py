"""Muon: an optimiser whose steps for matrices have directions that all count the same."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from metabook.checks import check_positive

ITERATION = (3.4445, -4.7750, 2.0315)  #: of Newton-Schulz: x <- a x + (b A + c A^2) x with A = x x^T
STEPS = 5


def orthogonal(x: Tensor) -> Tensor:
    """Roughly the nearest matrix of the shape of x [m, n] with all singular values 1.

    Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks": five steps of a polynomial
    iteration that moves every singular value towards 1. Those above a hundredth of the norm of x end between 0.6 and
    1.25; much smaller ones stay smaller, and zero stays zero.
    """
    if x.shape[0] > x.shape[1]:
        return orthogonal(x.T).T
    x = x / (x.norm() + 1e-7)
    a, b, c = ITERATION
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal for matrices and kernels, Adam for everything else.

    Jordan et al. (2024), https://kellerjordan.github.io/posts/muon. A kernel [O, I, h, w] counts as a matrix
    [O, I*h*w]. The step of a matrix of m rows and n columns is ``lr * sqrt(max(1, m / n))`` times the orthogonal
    matrix; the rate of Adam is ``lr * vectors``. torch.optim.Muon does matrices alone.

    lr: rate. momentum: of the running mean of gradients, looked at one step ahead (Nesterov). decay: the part of a
        matrix that is taken away in a step, times lr.

    Raises TypeError or ValueError for an lr that is not a finite number above 0.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.06,
        *,
        momentum: float = 0.9,
        decay: float = 0.05,
        vectors: float = 1 / 6,
    ) -> None:
        check_positive("lr", lr)
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay, "vectors": vectors})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step for all parameters that have a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                update = self._matrix if p.dim() > 1 else self._vector
                update(p, p.grad, self.state[p], group)

    def _matrix(self, p: Tensor, g: Tensor, state: dict[str, Tensor], group: dict[str, float]) -> None:
        mean = state.setdefault("mean", torch.zeros_like(p))
        mean.lerp_(g, 1 - group["momentum"])
        ahead = g.lerp(mean, group["momentum"]).flatten(1)
        rows, columns = ahead.shape
        p.mul_(1 - group["lr"] * group["decay"])
        p.sub_(group["lr"] * max(1.0, rows / columns) ** 0.5 * orthogonal(ahead).view_as(p))

    def _vector(self, p: Tensor, g: Tensor, state: dict[str, Tensor], group: dict[str, float]) -> None:
        if not state:
            state.update(mean=torch.zeros_like(p), square=torch.zeros_like(p), step=torch.zeros(()))
        first, second = 0.9, 0.99
        state["step"] += 1
        t = float(state["step"])
        mean, square = state["mean"].lerp_(g, 1 - first), state["square"].lerp_(g * g, 1 - second)
        size = (square / (1 - second**t)).sqrt() + 1e-8
        p.sub_(group["lr"] * group["vectors"] / (1 - first**t) * mean / size)
