"""Every classifier and regressor of the registry at the places of ``metabook.recipes.comparison``, by the same rules.

``python -m metabook.record everything --jobs 2`` makes the rows that the table ``comparison`` lacks; a stopped one goes
on. A system that is new in the registry is a new row; one that shall not be needs a reason in ``LEFT_OUT``.
"""

from __future__ import annotations

from metabook.likelihood import Classification, Likelihood, Regression
from metabook.recipe import Options, Recipe
from metabook.recipes import comparison
from metabook.registry import SYSTEMS

#: the kind of target at a place
PLACES: dict[str, type[Likelihood]] = {"sinusoids": Regression, "glyphs": Classification}
WIDTH = {"sinusoids": 40, "glyphs": 16}  #: that of the other rows, for every system that has one
LEFT_OUT: dict[str, str] = {}  #: system -> why it has no row
UNTRAINED = {"hand-made-optimizer", "modified-hausdorff", "exact-gp", "fitted-gp"}
_SLOW = "a step of training takes several times as long as with most"
#: PLACE-SYSTEM -> why there is one training, not three
ONCE = {
    "sinusoids-conv-cnp": _SLOW,
    "sinusoids-transformer-np": _SLOW,
    "sinusoids-metanetworks": _SLOW,
    "glyphs-metanetworks": _SLOW,
    "glyphs-hand-made-optimizer": "nothing of it is trained, and its test takes long",
}
#: what a system needs besides, other than the registry's
OPTIONS: dict[str, Options] = {
    "snail": {"max_shots": 5, "filters": 16},  # its 64 filters are four times the width of the other networks
    "exact-gp": {"length_scale": (0.5, 4.0)},  # for waves of period 6.3; and so the next
    "fitted-gp": {"length_scale": (0.5, 4.0)},
}


def systems(place: str) -> list[str]:
    """The systems that have a row there, in the registry's order."""
    return [name for name, s in SYSTEMS.items() if name not in LEFT_OUT and issubclass(PLACES[place], s.kinds)]


def _name(place: str, system: str) -> str:
    before = f"comparison/{place}-{system}"
    return before if before in comparison.RECIPES else f"everything/{place}-{system}"


def _recipe(system: str, place: str) -> Recipe:
    known = SYSTEMS[system].options()
    options = {**({"width": WIDTH[place]} if "width" in known else {}), **OPTIONS.get(system, {})}
    recipe = comparison.make(system, comparison.Row(system, trained=system not in UNTRAINED), place, options)
    return recipe._replace(seeds=recipe.seeds[:1]) if f"{place}-{system}" in ONCE else recipe


#: place -> system -> the recorded experiment that is its row, one of the table before or one of this
ROWS: dict[str, dict[str, str]] = {
    place: {system: _name(place, system) for system in systems(place)} for place in PLACES
}
RECIPES: dict[str, Recipe] = {
    name: _recipe(system, place)
    for place, rows in ROWS.items()
    for system, name in rows.items()
    if name not in comparison.RECIPES
}
