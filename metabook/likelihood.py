"""What a network's output means: the inner loss, the predictive distribution and the scores."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from metabook.checks import check_count
from metabook.episode import Examples


class Likelihood(ABC):
    """The kind of target a task has."""

    size: int  #: number of outputs a network needs: N classes, or Dy target dimensions
    higher_is_better: bool  #: of the first of the scores, the one that counts

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean loss over the examples of each task, [B]. outputs: [B, S, size]; y: [B, S] or [B, S, Dy].

        Raises ValueError for outputs of another shape.
        """

    @abstractmethod
    def distribution(self, outputs: Tensor) -> Distribution:
        """Predictive distribution of batch shape [..., B, Q] for outputs [..., B, Q, size].

        Raises ValueError if the last dimension is another, FloatingPointError if an output is not finite.
        """

    @abstractmethod
    def scores(self, predictions: Distribution, y: Tensor) -> dict[str, Tensor]:
        """Score name -> one number per task, [B]. Predictions have batch shape [B, Q] or [L, B, Q]."""

    @abstractmethod
    def check(self, name: str, examples: Examples) -> None:
        """Raise ValueError if the targets of ``examples`` are not of this kind; ``name`` says which set it is."""


class Classification(Likelihood):
    """N classes: cross-entropy in nats, Categorical predictions, accuracy (fraction) and nll (nats per query)."""

    higher_is_better = True

    def __init__(self, n_way: int) -> None:
        self.size = check_count("n_way", n_way, least=2)

    def __repr__(self) -> str:
        return f"Classification({self.size})"

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of each task in nats, [B]. outputs: [B, S, N] logits; y: [B, S] int64."""
        _check_outputs(outputs, (*y.shape, self.size))
        losses = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none")
        return losses.view(y.shape).mean(1)

    def distribution(self, outputs: Tensor) -> Distribution:
        """Categorical of batch shape [..., B, Q] from logits [..., B, Q, N]."""
        _check_predictions(outputs, self.size)
        return Categorical(logits=outputs, validate_args=False)  # checked, in one line

    def scores(self, predictions: Distribution, y: Tensor) -> dict[str, Tensor]:
        """accuracy: fraction of queries right, [B]; nll: nats per query, [B]. y: [B, Q]."""
        assert isinstance(predictions, Categorical)
        probs = predictions.probs if predictions.probs.dim() == 3 else predictions.probs.mean(0)
        correct = (probs.argmax(-1) == y).to(probs.dtype)
        return {"accuracy": correct.mean(1), "nll": _nll(predictions, y)}

    def check(self, name: str, examples: Examples) -> None:
        """Raise ValueError unless y is int64 [B, S] with classes 0..N-1; a support set needs every one of them."""
        y = examples.y
        if y.dtype != torch.int64 or y.dim() != 2:
            raise ValueError(
                f"{name}.y: {y.dtype} of shape {list(y.shape)} given; classification needs int64 of shape [B, S]"
            )
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= self.size:
            raise ValueError(
                f"{name}.y: labels {low} to {high} given; {self.size}-way tasks allow 0 to {self.size - 1}"
            )
        missing = ~F.one_hot(y, self.size).bool().any(1)  # [B, N]
        if name == "support" and bool(missing.any()):
            task, label = missing.nonzero()[0].tolist()
            raise ValueError(
                f"support.y: no example of class {label} in task {task} given; {self.size}-way tasks need at least one "
                "of every class"
            )


class Regression(Likelihood):
    """Real targets: squared error, Normal predictions of variance 1/2.

    With that variance the negative log-likelihood *is* the squared error, up to the constant log(pi)/2 per dimension,
    so the inner loss of the regression papers and the predictive distribution are one and the same.
    """

    higher_is_better = False

    def __init__(self, size: int = 1) -> None:
        self.size = check_count("size", size)

    def __repr__(self) -> str:
        return f"Regression({self.size})"

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean squared error of each task, summed over Dy, [B]. outputs, y: [B, S, Dy]."""
        _check_outputs(outputs, (*y.shape[:-1], self.size))
        return (outputs - y).square().sum(-1).mean(1)

    def distribution(self, outputs: Tensor) -> Distribution:
        """Independent Normal around outputs [..., B, Q, Dy] with variance 1/2."""
        _check_predictions(outputs, self.size)
        return Independent(Normal(outputs, math.sqrt(0.5), validate_args=False), 1, validate_args=False)

    def scores(self, predictions: Distribution, y: Tensor) -> dict[str, Tensor]:
        """mse: squared error of the predictive mean, summed over Dy, [B]; nll: nats per query, [B]. y: [B, Q, Dy]."""
        mean = predictions.mean if predictions.mean.dim() == 3 else predictions.mean.mean(0)
        return {"mse": (mean - y).square().sum(-1).mean(1), "nll": _nll(predictions, y)}

    def check(self, name: str, examples: Examples) -> None:
        """Raise ValueError unless y is floating point [B, S, Dy]."""
        y = examples.y
        if not y.is_floating_point() or y.dim() != 3 or y.shape[-1] != self.size:
            raise ValueError(
                f"{name}.y: {y.dtype} of shape {list(y.shape)} given; regression needs floats, [B, S, {self.size}]"
            )


def _check_outputs(outputs: Tensor, needed: tuple[int, ...]) -> None:
    if tuple(outputs.shape) != needed:  # without this, wrong shapes would broadcast to a loss that means nothing
        raise ValueError(f"outputs: shape {list(outputs.shape)} given; the network must return {list(needed)}")


def _check_predictions(outputs: Tensor, size: int) -> None:
    _check_outputs(outputs, (*outputs.shape[:-1], size))
    finite = torch.isfinite(outputs)
    if not bool(finite.all()):
        raise FloatingPointError(
            f"outputs: {int((~finite).sum())} of {outputs.numel()} not finite; lower the learner's inner_lr, or the lr "
            "it was trained with"
        )


def _nll(predictions: Distribution, y: Tensor) -> Tensor:
    """Negative joint log-likelihood of a task's queries divided by Q, [B]; y: [B, Q] or [B, Q, Dy]."""
    joint = predictions.log_prob(y).sum(-1)  # sum over Q first: [B] or [L, B]
    if joint.dim() == 2:
        joint = joint.logsumexp(0) - math.log(joint.shape[0])  # then the mean over latent samples
    return -joint / y.shape[1]
