"""Few-shot tasks over embeddings: vectors that a fixed network has made of drawings, some of each drawing."""

from __future__ import annotations

import torch
from torch import Tensor

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Likelihood
from metabook.tasks.images import FewShot
from metabook.tasks.protocol import score_predictions


class Embedded:
    """N-way K-shot tasks whose examples are vectors; each drawing has several, one for each distorted copy of it.

    x: [n, copies, D] floating point, the vectors of n drawings. y: [n] int64 classes 0..C-1, of the drawings.
    way, shots, queries: N classes a task, K support and ``queries`` query examples of each class.

    Promises what ``FewShot(repeat=True)`` promises, of drawings: a drawing never serves as support and query of the
    same task, under any copy. The copy is drawn uniformly, anew for every use.

    Raises TypeError or ValueError for shapes, dtypes, labels or values that do not fit, and what ``FewShot`` raises.
    """

    def __init__(self, x: Tensor, y: Tensor, *, way: int = 5, shots: int = 1, queries: int = 15) -> None:
        if not isinstance(x, Tensor) or x.dim() != 3 or not x.is_floating_point():
            what = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x: {what} given; vectors of drawings are needed, floats [n, copies, D]")
        self._drawings = FewShot(x.flatten(1), y, way=way, shots=shots, queries=queries, repeat=True)
        self.copies = x.shape[1]
        self.x_shape: tuple[int, ...] = (x.shape[2],)
        self.likelihood: Likelihood = self._drawings.likelihood

    def sample(self, n: int, generator: torch.Generator) -> Episode:
        """n tasks on the generator's device: support x [n, N*K, D], query x [n, N*queries, D], both by label."""
        support, query = self._drawings.sample(n, generator)
        return Episode(self._one_copy(support, generator), self._one_copy(query, generator))

    def score(self, learner: MetaLearner, batch: Episode) -> dict[str, Tensor]:
        """accuracy (fraction) and nll (nats per query), [B]."""
        return score_predictions(learner, batch)

    def _one_copy(self, drawings: Examples, generator: torch.Generator) -> Examples:
        x = drawings.x.unflatten(-1, (self.copies, *self.x_shape))  # [B, S, copies, D]
        copy = torch.randint(self.copies, x.shape[:2], generator=generator, device=x.device)
        return Examples(x.take_along_dim(copy[..., None, None], 2).squeeze(2), drawings.y)
