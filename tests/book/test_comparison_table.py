"""The comparison table: rows are systems, columns scores, cells the mean over seeds and their range."""

from comparison_table import beside, markdown, spread

from metabook.recipe import Measurement, Published, Recipe
from metabook.recipes import RECIPES


def record(*scores):
    parts = [{"scores": {"mse": {"mean": s, "interval": 0.1, "n": 9}}} for s in scores]
    return {**parts[0], "repeats": parts[1:]}


def test_spread():
    """0.1, 0.2, 0.6: mean 0.3. A diverged mean is shown without decimals; a score that cannot vary without a range."""
    assert spread([0.1, 0.2, 0.6]) == "0.300 (0.100 to 0.600)"
    assert spread([0.5]) == "0.500" and spread([0.5, 0.5]) == "0.500"
    assert spread([1.0, 2e6]) == "1000000 (1 to 2000000)"


def test_rows_are_systems_and_what_is_not_recorded_is_empty():
    records = {"sines-maml": record(0.1, 0.2, 0.6), "glyphs-maml": record(0.5), "glyphs-nearest-pixels": record(0.25)}
    assert markdown(records) == [
        "| system | sines: mse | glyphs: mse |",
        "|:--|--:|--:|",
        "| maml | 0.300 (0.100 to 0.600) | 0.500 |",
        "| nearest-pixels |  | 0.250 |",
    ]


def test_published_numbers_stand_below_with_source_and_difference():
    published = (Published("A | B", "99 %", "a paper", "everything"), Published("A", "98 %", "another", "nothing"))
    tests = (Measurement("accuracy"),)
    recipes = {
        "glyphs-a": Recipe("A", "a", "glyphs", tests),
        "omniglot-a": Recipe("A", "a", "omniglot", tests, published=published),
    }
    assert beside(recipes)[1:] == [
        "| tasks | system | published | source | how its set-up differs |",
        "|:--|:--|:--|:--|:--|",
        r"| omniglot | A \| B | 99 % | a paper | everything |",
        "| omniglot | A | 98 % | another | nothing |",
    ]
    assert beside({"glyphs-a": recipes["glyphs-a"]}) == []


def test_every_published_number_of_the_table_has_a_source_and_a_difference():
    published = [row for name, r in RECIPES.items() if name.startswith("comparison/") for row in r.published]
    assert len(published) >= 10 and all(field.strip() for row in published for field in row)
