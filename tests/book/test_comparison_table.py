"""The comparison table: rows are systems, columns scores, cells the mean over seeds and their range."""

from comparison_table import markdown, spread


def record(*scores, published=()):
    parts = [{"scores": {"mse": {"mean": s, "interval": 0.1, "n": 9}}} for s in scores]
    return {**parts[0], "repeats": parts[1:], "published": list(published)}


def test_spread():
    """0.1, 0.2, 0.6: mean 0.3. A diverged mean is shown without decimals; a score that cannot vary without a range."""
    assert spread([0.1, 0.2, 0.6]) == "0.300 (0.100 to 0.600)"
    assert spread([0.5]) == "0.500" and spread([0.5, 0.5]) == "0.500"
    assert spread([1.0, 2e6]) == "1000000 (1 to 2000000)"


def test_rows_are_systems_and_what_is_not_recorded_is_empty():
    beside = {"value": "99 %", "source": "a paper", "differs": "everything"}
    records = {
        "sines-maml": record(0.1, 0.2, 0.6),
        "glyphs-maml": record(0.5, published=[beside]),
        "glyphs-nearest-pixels": record(0.25),
    }
    assert markdown(records) == [
        "| system | sines: mse | glyphs: mse | published |",
        "|:--|--:|--:|:--|",
        "| maml | 0.300 (0.100 to 0.600) | 0.500 | 99 % (a paper; everything) |",
        "| nearest-pixels |  | 0.250 |  |",
    ]
