"""Losses, predictive distributions and scores against numbers worked out by hand."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from metabook.episode import Examples
from metabook.likelihood import Classification, Likelihood, Regression


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_cross_entropy_is_the_mean_of_minus_log_p_over_the_examples_of_a_task():
    """Logits log(1, 3): p = 1/4, 3/4. Task 0 has classes 0 and 1: (log 4 + log 4/3) / 2. Task 1 twice 1: log 4/3."""
    outputs = f64(1.0, 3.0).log().expand(2, 2, 2)
    loss = Classification(2).loss(outputs, torch.tensor([[0, 1], [1, 1]]))
    torch.testing.assert_close(loss, f64((math.log(4) + math.log(4 / 3)) / 2, math.log(4 / 3)))


def test_squared_error_is_summed_over_dimensions_and_averaged_over_examples():
    """Errors (1, 2) and (0, 3) give (5 + 9) / 2 = 7; errors (0, 0) and (1, 0) give 1/2."""
    y = torch.zeros(2, 2, 2, dtype=torch.float64)
    outputs = f64([[1.0, 2.0], [0.0, 3.0]], [[0.0, 0.0], [1.0, 0.0]])
    assert Regression(2).loss(outputs, y).tolist() == [7.0, 0.5]


def test_the_inner_loss_is_the_nll_of_the_predictions_up_to_the_constant_that_is_documented():
    """Classification: exactly. Regression: variance 1/2 adds log(pi) / 2 for each dimension."""
    outputs, y = torch.randn(3, 4, 2, dtype=torch.float64), torch.randn(3, 4, 2, dtype=torch.float64)
    regression = Regression(2)
    nll = -regression.distribution(outputs).log_prob(y).mean(1)
    torch.testing.assert_close(nll, regression.loss(outputs, y) + math.log(math.pi))
    classes = torch.randint(0, 2, (3, 4))
    classification = Classification(2)
    nll = -classification.distribution(outputs).log_prob(classes).mean(1)
    torch.testing.assert_close(nll, classification.loss(outputs, classes))


@pytest.mark.parametrize("leading", [(), (6,)])
def test_the_batch_shape_is_one_prediction_for_every_query(leading):
    outputs = torch.zeros(*leading, 3, 4, 2)
    for likelihood in (Classification(2), Regression(2)):
        assert likelihood.distribution(outputs).batch_shape == (*leading, 3, 4)


def test_classification_scores():
    """p = (1/4, 3/4) for both queries of classes 0 and 1: half are right, nll = (log 4 + log 4/3) / 2."""
    predictions = Categorical(probs=f64(0.25, 0.75).expand(1, 2, 2))
    scores = Classification(2).scores(predictions, torch.tensor([[0, 1]]))
    assert list(scores) == ["accuracy", "nll"] and scores["accuracy"].tolist() == [0.5]
    torch.testing.assert_close(scores["nll"], f64((math.log(4) + math.log(4 / 3)) / 2))


def test_regression_scores():
    """Means 0 and targets 1, 3: mse (1 + 9) / 2 = 5. With standard deviation 2 the nll of one query is
    log 2 + log(2 pi) / 2 + y^2 / 8, so the mean is log 2 + log(2 pi) / 2 + 5/8."""
    predictions = Independent(Normal(torch.zeros(1, 2, 1, dtype=torch.float64), 2.0), 1)
    scores = Regression().scores(predictions, f64([[1.0], [3.0]]))
    assert list(scores) == ["mse", "nll"] and scores["mse"].tolist() == [5.0]
    torch.testing.assert_close(scores["nll"], f64(math.log(2) + math.log(2 * math.pi) / 2 + 5 / 8))


def test_latent_samples_the_joint_likelihood_is_summed_over_queries_before_the_mean():
    """Two samples, two queries of class 0. p(class 0) is (0.9, 0.1) in sample 1 and (0.1, 0.9) in sample 2.

    Joint: 0.09 in both samples, mean 0.09, so nll = -log(0.09) / 2 = 1.204.
    The classic mistake, the mean for each query first, would give 0.5 and -log(0.5) = 0.693.
    """
    p = f64([[0.9, 0.1]], [[0.1, 0.9]])  # [L, B, Q]
    predictions = Categorical(probs=torch.stack([p, 1 - p], -1))
    nll = Classification(2).scores(predictions, torch.zeros(1, 2, dtype=torch.int64))["nll"]
    torch.testing.assert_close(nll, f64(-math.log(0.09) / 2))


def test_latent_samples_unequal_joints_are_averaged_as_probabilities():
    """Joints 0.81 and 0.01: mean 0.41, so nll = -log(0.41) / 2, and not the mean of the logarithms."""
    p = f64([[0.9, 0.9]], [[0.1, 0.1]])
    predictions = Categorical(probs=torch.stack([p, 1 - p], -1))
    nll = Classification(2).scores(predictions, torch.zeros(1, 2, dtype=torch.int64))["nll"]
    torch.testing.assert_close(nll, f64(-math.log(0.41) / 2))


@pytest.mark.parametrize(("samples", "chosen"), [((0.9, 0.4, 0.4), 0), ((0.99, 0.4, 0.05), 1)], ids=["vote", "log"])
def test_latent_samples_the_accuracy_is_that_of_the_mean_probabilities(samples, chosen):
    """p(class 0) has mean 0.57, where two of three votes say class 1; and mean 0.48, where the mean of the logits
    (4.6 - 0.4 - 2.9 > 0) says class 0."""
    p = f64(*samples)[:, None, None]
    predictions = Categorical(probs=torch.stack([p, 1 - p], -1))
    assert Classification(2).scores(predictions, torch.tensor([[chosen]]))["accuracy"].tolist() == [1.0]


def test_latent_samples_regression():
    """Means 0 and 2 in two samples, target 2 at both queries. mse of the mean 1: 1.
    Joints of variance 1/2: exp(-8) / pi and 1 / pi, so nll = -log((1 + exp(-8)) / (2 pi)) / 2."""
    means = f64(0.0, 2.0)[:, None, None, None].expand(2, 1, 2, 1)
    likelihood = Regression()
    scores = likelihood.scores(likelihood.distribution(means), torch.full((1, 2, 1), 2.0, dtype=torch.float64))
    assert scores["mse"].tolist() == [1.0]
    torch.testing.assert_close(scores["nll"], f64(-math.log((1 + math.exp(-8)) / (2 * math.pi)) / 2))


def test_every_task_has_its_own_score():
    predictions = Categorical(probs=f64([[0.75, 0.25]], [[0.25, 0.75]]))
    assert Classification(2).scores(predictions, torch.zeros(2, 1).long())["accuracy"].tolist() == [1.0, 0.0]


def test_size_and_direction_and_name():
    assert Classification(5).size == 5 and Classification(5).higher_is_better
    assert Regression(3).size == 3 and Regression().size == 1 and not Regression().higher_is_better
    assert repr(Classification(5)) == "Classification(5)" and repr(Regression(3)) == "Regression(3)"
    with pytest.raises(TypeError, match="abstract"):
        Likelihood()


def labels(*y, dtype=torch.int64):
    y = torch.tensor(y, dtype=dtype)
    return Examples(torch.zeros(*y.shape[:2], 2), y)


@pytest.mark.parametrize(
    ("name", "examples", "message"),
    [
        (
            "query",
            labels([0, 1], dtype=torch.int32),
            r"query\.y: torch\.int32 of shape \[1, 2\] given; .* needs int64",
        ),
        (
            "query",
            labels([[0], [1]]),
            r"query\.y: torch\.int64 of shape \[1, 2, 1\] given; .* needs int64",
        ),
        ("query", labels([0, 3]), r"query\.y: labels 0 to 3 given; 3-way tasks allow 0 to 2"),
        ("support", labels([-1, 2]), r"support\.y: labels -1 to 2 given; 3-way tasks allow 0 to 2"),
        (
            "support",
            labels([0, 1, 2], [0, 2, 2]),
            r"support\.y: no example of class 1 in task 1 given; 3-way",
        ),
    ],
)
def test_classes_that_do_not_fit(name, examples, message):
    with pytest.raises(ValueError, match=message):
        Classification(3).check(name, examples)


def test_classes_that_fit():
    Classification(3).check("query", labels([2, 2]))  # a query set need not ask every class
    Classification(3).check("support", labels([2, 0, 0, 1]))  # shots may differ


@pytest.mark.parametrize("y", [torch.zeros(1, 2).long(), torch.zeros(1, 2), torch.zeros(1, 2, 3)])
def test_targets_that_do_not_fit(y):
    with pytest.raises(ValueError, match=rf"query\.y: {y.dtype} of shape .* given; .* floats, \[B, S, 2\]"):
        Regression(2).check("query", Examples(torch.zeros(1, 2, 1), y))
    Regression(2).check("query", Examples(torch.zeros(1, 2, 1), torch.zeros(1, 2, 2)))


def test_sizes_that_do_not_exist():
    with pytest.raises(ValueError, match="n_way: 1 given; at least 2"):
        Classification(1)
    with pytest.raises(ValueError, match="size: 0 given; at least 1"):
        Regression(0)
