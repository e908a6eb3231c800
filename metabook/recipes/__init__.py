"""The recorded experiments, by name: what is trained on what, how it is scored, what others have published."""

from __future__ import annotations

from metabook.recipe import Recipe
from metabook.recipes import (
    calibration,
    challenge,
    characters,
    comparison,
    memorisation,
    metric_comparison,
    optimizers,
    printed,
    sinusoids,
)

RECIPES: dict[str, Recipe] = {
    **sinusoids.RECIPES,
    **characters.RECIPES,
    **memorisation.RECIPES,
    **comparison.RECIPES,
    **metric_comparison.RECIPES,
    **challenge.RECIPES,
    **printed.RECIPES,
    **optimizers.RECIPES,
    **calibration.RECIPES,
}
