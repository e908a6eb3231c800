"""Checks of arguments: what passes, what does not, and the one line that says so."""

import math

import pytest
import torch

from metabook.checks import check_choice, check_count, check_episode, check_positive, check_range
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression


def test_what_is_right_is_handed_back():
    assert check_count("n", 3) == 3 and check_count("n", 0, least=0) == 0
    assert check_positive("lr", 1) == 1.0 and isinstance(check_positive("lr", 1), float)
    assert check_positive("lr", 1e-300) == 1e-300
    assert check_range("r", (1, 2)) == (1.0, 2.0) and check_range("r", [1, 1]) == (1.0, 1.0)
    assert check_range("r", 3) == (3.0, 3.0) and check_range("r", (-2, -1)) == (-2.0, -1.0)
    assert check_choice("c", "b", ("a", "b")) == "b"


@pytest.mark.parametrize("value", [True, 2.0, "2", None])
def test_counts_are_whole_numbers(value):
    with pytest.raises(TypeError) as caught:
        check_count("n", value, least=2)
    assert str(caught.value) == f"n: {value!r} given; a whole number of at least 2 is needed"


@pytest.mark.parametrize(("value", "least"), [(0, 1), (-1, 0), (1, 2)])
def test_counts_have_a_least_value(value, least):
    with pytest.raises(ValueError) as caught:
        check_count("n", value, least=least)
    assert str(caught.value) == f"n: {value} given; at least {least} is needed"


@pytest.mark.parametrize("value", [True, "1", None, (1,)])
def test_rates_are_numbers(value):
    with pytest.raises(TypeError) as caught:
        check_positive("lr", value)
    assert str(caught.value) == f"lr: {value!r} given; a number above 0 is needed"


@pytest.mark.parametrize("value", [0, 0.0, -1, math.inf, math.nan])
def test_rates_are_finite_and_above_zero(value):
    with pytest.raises(ValueError) as caught:
        check_positive("lr", value)
    assert str(caught.value) == f"lr: {value} given; a finite number above 0 is needed"


@pytest.mark.parametrize("value", [(2, 1), (1,), (1, 2, 3), (), (1, math.inf), math.nan, ("a", "b"), "ab", (True, 2)])
def test_ranges_are_pairs_in_order(value):
    with pytest.raises(ValueError) as caught:
        check_range("r", value)
    assert str(caught.value) == f"r: {value!r} given; a pair (low, high) of finite numbers with low <= high is needed"


def test_a_choice_lists_what_is_allowed():
    with pytest.raises(ValueError, match=r"^c: 'd' given; allowed are a, b, e$"):
        check_choice("c", "d", (letter for letter in "abe"))


SHAPES = {
    "support": {"x": (2, 4, 3), "y": (2, 4, 1)},
    "query": {"x": (2, 5, 3), "y": (2, 5, 1)},
}


def episode(**changes):
    """Two regression tasks; ``query_x=(2, 5)`` changes the shape of one tensor, a tensor replaces it."""
    parts = []
    for name, shapes in SHAPES.items():
        tensors = []
        for field, shape in shapes.items():
            new = changes.get(f"{name}_{field}", shape)
            tensors.append(new if isinstance(new, torch.Tensor) else torch.rand(new))
        parts.append(Examples(*tensors))
    return Episode(*parts)


def test_an_episode_that_fits_is_handed_back():
    right = episode()
    assert check_episode(right, Regression(1)) is right and check_episode(right, Regression(1), (3,)) is right


def classes(value, shape=(2, 4)):
    return torch.arange(math.prod(shape)).view(shape) % value


WRONG = {
    "no task dimension": (
        {"support_x": (4, 3)},
        r"^support: x of shape \[4, 3\] and y .* x must be \[B, S, \*X\] and y",
    ),
    "y of another length": (
        {"query_y": (2, 6, 1)},
        r"^query: x of shape \[2, 5, 3\] and y of shape \[2, 6, 1\] given;",
    ),
    "y of other tasks": ({"query_y": (3, 5, 1)}, r"^query: x of shape \[2, 5, 3\] and y of shape \[3, 5, 1\] given;"),
    "no examples": (
        {"query_x": (2, 0, 3), "query_y": (2, 0, 1)},
        r"^query\.x: shape \[2, 0, 3\] given; every task needs at least one example$",
    ),
    "whole numbers": (
        {"support_x": torch.ones(2, 4, 3, dtype=torch.int32)},
        r"^support\.x: torch\.int32 given; inputs must be floating point$",
    ),
    "NaN in x": (
        {"query_x": torch.full((2, 5, 3), math.nan)},
        r"^query: NaN or infinite values given; all values must",
    ),
    "infinity in y": ({"support_y": torch.full((2, 4, 1), math.inf)}, r"^support: NaN or infinite values given; all"),
    "targets of another size": ({"query_y": (2, 5, 2)}, r"^query\.y: .* regression needs floats, \[B, S, 1\]$"),
    "another number of tasks": (
        {"query_x": (3, 5, 3), "query_y": (3, 5, 1)},
        r"^query: 3 tasks given; the support set has 2$",
    ),
    "other inputs": ({"query_x": (2, 5, 4)}, r"^query\.x: examples of shape \[4\] given; the support set has \[3\]$"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_episode_that_does_not_fit(kind):
    changes, message = WRONG[kind]
    with pytest.raises(ValueError, match=message) as caught:
        check_episode(episode(**changes), Regression(1))
    assert "\n" not in str(caught.value)


def test_inputs_of_another_shape_than_the_tasks_promise():
    with pytest.raises(ValueError, match=r"^support\.x: examples of shape \[3\] given; \[1, 28, 28\] is needed$"):
        check_episode(episode(), Regression(1), (1, 28, 28))


def test_classes_are_checked_by_the_likelihood():
    good = {"support_y": classes(2), "query_y": classes(2, (2, 5))}
    assert check_episode(episode(**good), Classification(2)).batch_size == 2
    with pytest.raises(ValueError, match=r"^query\.y: labels 0 to 2 given; 2-way tasks allow 0 to 1$"):
        check_episode(episode(**{**good, "query_y": classes(3, (2, 5))}), Classification(2))
    with pytest.raises(ValueError, match=r"^support\.y: no example of class 2 in task 0 given; 3-way tasks need"):
        check_episode(episode(**good), Classification(3))
