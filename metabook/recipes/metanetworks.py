"""When is it worth writing the architecture too? Functions that call for different units, letters with moved pixels.

``python -m metabook.record metanetworks metanetworks-letters metanetworks-sizes --jobs 2`` makes the tables; a stopped
one goes on. Every task network for functions has one hidden layer of 20 units (61 weights with one input), and every
system of a table sees as many batches.
"""

from __future__ import annotations

from typing import NamedTuple

from metabook.recipe import Measurement, Options, Recipe
from metabook.tasks.function_mixture import FAMILIES, UNIT

SEEDS = (0, 1, 2)
MIXED = "sine,square,relu,identity,step"
BRANCHES = ("conv5", "dense")
CLIP = 10.0  #: of the inner gradient, the same for all
FUNCTION_BUDGET: Options = {"steps": 6_500, "batch": 32, "lr": 0.01, "optimizer": "muon"}
SIZE_BUDGET: Options = {**FUNCTION_BUDGET, "steps": 4_000}
LETTER_BUDGET: Options = {"steps": 700, "batch": 8, "lr": 0.02, "optimizer": "muon"}
WIDE: Options = {"width": 16}  #: channels of both branches, in every row on letters
#: of those that write: the encoder looks by the operations of the network it writes, and can tell many letters apart
LOOK: Options = {**WIDE, "eyes": "own", "hidden": 128, "code": 64}

_COST = Measurement("multiply-adds", episodes=200, score="multiply-adds")
#: whether the choice is the unit that is the family exactly, and what is chosen in its place
_FUNCTION_CHOICES = tuple(
    Measurement(f"{family}: {unit}", {"only": family}, episodes=1000, score=f"chooses {unit}")
    for family in FAMILIES
    for unit in MIXED.split(",")
)
_FUNCTION_TESTS = (
    Measurement("mse", {"queries": 100}),
    Measurement("mse, inputs 5 to 7", {"queries": 100, "query_range": (5.0, 7.0)}),
    *(Measurement(f"mse, {family}", {"only": family, "queries": 100}, episodes=500) for family in FAMILIES),
)
_DISCRETE = Measurement("mse, made discrete", {"queries": 100}, {"choose": "straight-through"})
_LETTER_TESTS = tuple(
    Measurement(f"accuracy{name}", options, episodes=episodes, batch=50)
    for name, options, episodes in (
        ("", {}, 1000),
        (", as they are", {"permuted": 0.0}, 500),
        (", moved", {"permuted": 1.0}, 500),
    )
)
_LETTER_CHOICES = tuple(
    Measurement(f"{kind}: {unit}", {"permuted": part}, episodes=500, batch=50, score=f"chooses {unit}")
    for kind, part in (("as they are", 0.0), ("moved", 1.0))
    for unit in BRANCHES
)
SIZES = (1, 2, 3)  #: inputs of a function
_SIZE_TESTS = (
    Measurement("mse"),
    *(Measurement(f"mse, {d} {'input' if d == 1 else 'inputs'}", {"used": d}, episodes=500) for d in SIZES),
)
_SIZE_CHOICES = tuple(
    Measurement(f"{d}, {family}: {unit}", {"used": d, "only": family}, episodes=300, score=f"chooses {unit}")
    for d in SIZES
    for family, unit in zip(FAMILIES, UNIT, strict=True)
)


class Row(NamedTuple):
    """One system of a table."""

    system: str
    options: Options = {}
    inner_steps: tuple[int, ...] = (0, 3)  #: of gradient descent on the weights of a task, a record each
    explored: int = 0  #: of the steps of training, the first so many compare all choices alike
    exploration: float = 0.1  #: after these
    more: tuple[Measurement, ...] = ()


#: A single unit, all of them in equal parts (the baselines that must never be left out), and a choice for each task
FUNCTIONS = {
    "metanetworks": Row("metanetworks", explored=650, more=_FUNCTION_CHOICES),
    "hypernetwork-sine": Row("hypernetwork", {"units": "sine"}),
    "hypernetwork-mixed": Row("hypernetwork", {"units": MIXED}, inner_steps=(0,)),
    **{f"maml-{unit}": Row("maml", {"units": unit, "clip": CLIP}, inner_steps=(5,)) for unit in ("relu", "sine")},
    "maml-mixed": Row("maml", {"units": MIXED, "clip": CLIP}, inner_steps=(5,)),
    "anil-sine": Row("anil", {"units": "sine"}, inner_steps=(5,)),
    "metanetworks-straight-through": Row(
        "metanetworks", {"choose": "straight-through"}, inner_steps=(0,), more=_FUNCTION_CHOICES
    ),
    "metanetworks-soft": Row(
        "metanetworks", {"choose": "soft"}, inner_steps=(0,), more=(*_FUNCTION_CHOICES, _DISCRETE)
    ),
}
#: The same, of one to three inputs
SIZED = {
    "metanetworks": Row("metanetworks", inner_steps=(0,), explored=1_500, more=_SIZE_CHOICES),
    **{
        f"hypernetwork-{name}": Row("hypernetwork", {"units": units}, inner_steps=(0,))
        for name, units in (("sine", "sine"), ("mixed", MIXED))
    },
    "maml-sine": Row("maml", {"units": "sine", "clip": CLIP}, inner_steps=(5,)),
    "anil-sine": Row("anil", {"units": "sine"}, inner_steps=(5,)),
}
LETTER_RATE = 0.03  #: of inner steps, chosen by short trials on validation letters
LETTERS = {
    "metanetworks": Row(
        "metanetworks",
        {"operations": ",".join(BRANCHES), "sharpness": 50.0, "kl_weight": 0.0, **LOOK},
        (0,),
        explored=150,
        exploration=0.02,
        more=_LETTER_CHOICES,
    ),
    **{
        f"hypernetwork-{name}": Row("hypernetwork", {"units": units, **LOOK}, (0,))
        for name, units in (("mixed", ",".join(BRANCHES)), *((unit, unit) for unit in BRANCHES))
    },
    # of the two branches the one chosen for MAML by short trials on validation letters
    **{
        f"{system}-dense": Row(system, {"units": "dense", "inner_lr": LETTER_RATE, **WIDE}, (5,))
        for system in ("maml", "anil")
    },
}


def _phases(row: Row, budget: Options) -> tuple[Options, ...]:
    """Training; a system that explores does so at a constant rate, then the schedule begins."""
    main = {**budget, "schedule": "cosine", "steps": budget["steps"] - row.explored}
    if not row.explored:
        return (main,)
    first = {**budget, "steps": row.explored, "options": {"exploration": 1.0}}
    return (first, {**main, "options": {"exploration": row.exploration}})


def _recipe(title: str, tasks: str, row: Row, steps: int, budget: Options, tests: tuple[Measurement, ...]) -> Recipe:
    choices = {"operations": MIXED} if row.system == "metanetworks" and tasks != "permuted-glyphs" else {}
    return Recipe(
        f"{title}, {steps} inner steps",
        row.system,
        tasks,
        (*tests, _COST, *row.more) if row.system != "anil" else tests,  # the body of ANIL is a cell without a head
        training=_phases(row, budget),
        train_options={"queries": 5} if tasks == "permuted-glyphs" else {},
        options={**choices, **row.options, "inner_steps": steps},
        validated=True,
        seeds=SEEDS,
    )


class Table(NamedTuple):
    """Rows that are compared with each other."""

    name: str  #: of a record, with places for the row's name and its inner steps
    title: str
    tasks: str
    rows: dict[str, Row]
    budget: Options
    tests: tuple[Measurement, ...]


TABLES = (
    Table(
        "metanetworks/functions-{}-{}",
        "functions that call for different units",
        "function-mixture",
        FUNCTIONS,
        FUNCTION_BUDGET,
        _FUNCTION_TESTS,
    ),
    Table(
        "metanetworks-letters/glyphs-{}",
        "letters, half of the tasks with moved pixels",
        "permuted-glyphs",
        LETTERS,
        LETTER_BUDGET,
        _LETTER_TESTS,
    ),
    Table(
        "metanetworks-sizes/functions-{}",
        "functions of one, two or three inputs",
        "lifted-mixture",
        SIZED,
        SIZE_BUDGET,
        _SIZE_TESTS,
    ),
)
RECIPES: dict[str, Recipe] = {
    t.name.format(name, steps): _recipe(f"{name} on {t.title}", t.tasks, row, steps, t.budget, t.tests)
    for t in TABLES
    for name, row in t.rows.items()
    for steps in row.inner_steps
}
