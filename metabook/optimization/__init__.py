"""Systems that learn how to move: initialisations, step rules and optimisers."""

from metabook.optimization.maml import MAML

__all__ = ["MAML"]
