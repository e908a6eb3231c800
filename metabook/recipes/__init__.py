"""The recorded experiments, by name: what is trained on what, how it is scored, what others have published."""

from __future__ import annotations

from metabook.recipe import Recipe
from metabook.recipes import (
    architecture_search,
    calibration,
    challenge,
    characters,
    comparison,
    continual,
    everything,
    gans,
    image_completion,
    leo,
    memorisation,
    meta_networks,
    metanetworks,
    metric_comparison,
    neural_processes,
    optimizers,
    printed,
    sinusoids,
    task_codes,
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
    **task_codes.RECIPES,
    **leo.RECIPES,
    **gans.RECIPES,
    **meta_networks.RECIPES,
    **continual.RECIPES,
    **continual.OMNIGLOT,
    **neural_processes.RECIPES,
    **image_completion.RECIPES,
    **calibration.RECIPES,
    **metanetworks.RECIPES,
    **architecture_search.RECIPES,
    **everything.RECIPES,
}
