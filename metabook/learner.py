"""The interface of every system in the book: adapt, predict, meta_loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from metabook.episode import Episode, Examples
from metabook.likelihood import Likelihood
from metabook.mapping import uses_batch_statistics


class MetaLearner(nn.Module, ABC):
    """Holds the meta-parameters theta, and only theta; answers three questions.

    What is the adapted state phi? Whatever ``adapt`` returns: a Tensor, a dict or a NamedTuple of tensors, with the
    task dimension B leading in every leaf. It is a value: plot it, save it, use it for many queries.
    How is it computed? By ``adapt``, from the support set alone. No method writes to ``self``.
    What trains theta? The gradient of ``meta_loss``.

    Class attributes
        ordered: True if the order of the support examples matters.
        first_order: True if the gradient of ``meta_loss`` leaves terms out on purpose.
        precise: True if the state is kept in float64, whatever the inputs are.
        one_by_one: True if ``predict`` never shows a network two queries at once (``metabook.one_by_one``).
    """

    ordered: bool = False
    first_order: bool = False
    precise: bool = False
    one_by_one: bool = False

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        if not isinstance(likelihood, Likelihood):
            raise TypeError(
                f"likelihood: {likelihood!r} given; a Likelihood is needed, such as Classification(5) or Regression()"
            )
        self.likelihood = likelihood

    @abstractmethod
    def adapt(self, support: Examples) -> Any:
        """The adapted state phi of each task, B leading in every leaf. Needs no enclosing gradient mode."""

    @abstractmethod
    def predict(self, state: Any, query_x: Tensor) -> Distribution:
        """Predictive distribution of every query target, batch shape [B, Q] ([L, B, Q] with L latent samples).

        query_x: [B, Q, *X].
        """

    @abstractmethod
    def meta_loss(self, batch: Episode) -> Tensor:
        """Scalar, a mean over the tasks of ``batch``; its gradient in theta is the meta-update."""

    @property
    def transductive(self) -> bool:
        """True if a prediction depends on the other queries of the batch (batch statistics, for example)."""
        return uses_batch_statistics(self) and not self.one_by_one

    def forward(self, episode: Episode) -> Distribution:
        """Adapt on the support set, predict the queries. Final: systems do not override it."""
        return self.predict(self.adapt(episode.support), episode.query.x)
