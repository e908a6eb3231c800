"""The comparison table: rows are systems, columns scores, cells the mean over seeds and their range."""

import json

import pytest
from comparison_table import beside, markdown, means, only, spread

from metabook.commands.results import recorded
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


def test_a_score_that_only_some_systems_have_is_empty_for_the_others():
    more = record(0.5)
    more["scores"]["20-way"] = {"mean": 0.25, "interval": 0.1, "n": 9}
    assert markdown({"glyphs-snail": record(0.125), "glyphs-matching": more}) == [
        "| system | glyphs: mse | glyphs: 20-way |",
        "|:--|--:|--:|",
        "| snail | 0.125 |  |",
        "| matching | 0.500 | 0.250 |",
    ]


def test_one_place_and_the_scores_that_fit_a_pattern():
    """Another place, and a record none of whose scores fit, are left out; heads then need no place."""
    wide = record(0.5)
    wide["scores"]["1-shot: nll"] = {"mean": 0.25, "interval": 0.1, "n": 9}
    records = {"gp-maml": wide, "gp-cnp": record(0.75), "glyphs-maml": wide}
    assert list(only(records, None)) == list(records)
    assert list(only(records, "gp")) == ["gp-maml", "gp-cnp"]
    assert markdown(only(records, "gp", "1-shot*"), named=False) == [
        "| system | 1-shot: nll |",
        "|:--|--:|",
        "| maml | 0.250 |",
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


@pytest.mark.parametrize(("table", "least"), [("comparison", 10), ("comparison-metric", 4), ("challenge", 4)])
def test_every_published_number_of_a_table_has_a_source_and_a_difference(table, least):
    published = [row for name, r in RECIPES.items() if name.startswith(f"{table}/") for row in r.published]
    assert len(published) >= least and all(field.strip() for row in published for field in row)


@pytest.mark.parametrize("table", ["comparison", "comparison-metric", "challenge"])
def test_every_row_and_column_is_recorded_as_the_recipe_says(table):
    recipes = {name: recipe for name, recipe in RECIPES.items() if name.startswith(f"{table}/")}
    records = {name: record for name, record in recorded().items() if name.startswith(f"{table}/")}
    assert recipes and recipes.keys() == records.keys()
    for name, recipe in recipes.items():
        settings = json.loads(json.dumps(recipe.settings()))
        assert settings == {k: v for k, v in records[name]["settings"].items() if k != "transductive"}, name
        assert [records[name]["seed"], *(r["seed"] for r in records[name]["repeats"])] == list(recipe.seeds)


def test_what_the_book_says_of_the_table():
    """Mean over seeds of the one-shot (on waves: five-shot) score; errors on waves, accuracies on letters."""
    scores = {"sinusoids": {}, "glyphs": {}, "omniglot": {}}
    for name, record in recorded().items():
        if name.startswith("comparison/"):
            place, _, system = name.removeprefix("comparison/").partition("-")
            values = means(record, next(iter(record["scores"])))
            scores[place][system] = sum(values) / len(values)
    waves, *letters = scores.values()
    for system in ("maml-plus-plus", "optimization-engine", "meta-sgd"):
        assert waves[system] < waves["maml"] and all(kind[system] > kind["maml"] for kind in letters)
    for kind in letters:
        assert max(kind["lstm-meta-learner"], kind["learned-optimizer"]) < 1.02 * kind["maml"]
        assert kind["maml-first-order"] < kind["nearest-pixels"]
        assert abs(kind["reptile"] - kind["nearest-pixels"]) < 0.1 and kind["reptile"] < 0.6 * kind["maml"]
        assert 0.85 * kind["maml"] < kind["anil"] < kind["maml"] and abs(kind["joint"] - 0.2) < 0.01
    assert waves["learned-optimizer"] > waves["maml"] > max(waves["anil"], waves["reptile"])
    assert waves["maml-first-order"] < 1.15 * waves["maml"] and waves["joint"] > 3 * waves["maml"]


def test_what_the_book_says_of_the_challenge():
    """Accuracies within alphabets: the best view helps, and the Hausdorff distance errs more than officially."""
    within = "within an alphabet, 20-way 1-shot"
    for split in ("small1", "small2"):
        whole = recorded()[f"challenge/{split}-the-whole-recipe"]
        best = next(score for score in whole["scores"] if "best of" in score)
        assert sum(means(whole, best)) > sum(means(whole, within))
        (hausdorff,) = means(recorded()[f"challenge/{split}-modified-hausdorff"], within)
        assert 1 - hausdorff > 0.388 + 0.05 and min(means(whole, within)) > hausdorff


def test_what_the_book_says_of_the_metric_table():
    """Mean accuracies: prototypes and votes close, SNAIL behind, one alphabet harder, ink better than pixels."""
    score = {}
    for name, record in recorded().items():
        if name.startswith("comparison-metric/"):
            place, _, system = name.removeprefix("comparison-metric/").partition("-")
            for label in record["scores"]:
                values = means(record, label)
                score[place, system, label] = sum(values) / len(values)
    five, twenty, within = "5-way 1-shot", "20-way 1-shot", "20-way 1-shot within an alphabet"
    for place in ("glyphs", "omniglot"):
        assert abs(score[place, "prototypical", five] - score[place, "matching", five]) < 0.02
        for label in (five, twenty):
            assert score[place, "modified-hausdorff", label] > score[place, "nearest-pixels", label]
            assert score[place, "prototypical", label] > score[place, "modified-hausdorff", label] + 0.15
    for system in ("prototypical", "matching", "relation"):
        assert score["omniglot", "snail", five] < score["omniglot", system, five]
    for system in ("prototypical", "matching"):
        assert 1 - score["omniglot", system, within] > 1.6 * (1 - score["omniglot", system, twenty])
