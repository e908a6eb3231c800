"""Means, intervals, and the same tasks for everybody."""

import json
import math

import pytest
import torch

from metabook.baselines import Joint
from metabook.evaluation import Score, Scores, evaluate
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import MLP, Pixels
from metabook.tasks.clusters import Clusters
from metabook.tasks.sinusoids import Sinusoids


def test_mean_and_interval_by_hand():
    """1, 2, 3, 4: mean 2.5, s^2 = 5/3, interval 1.96 sqrt(5/3) / 2 = 1.26517."""
    score = Score(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert score.mean == 2.5 and score.n == 4
    assert score.interval == pytest.approx(1.96 * math.sqrt(5 / 3) / 2)
    assert f"{score:.2f}" == "2.50 ± 1.27"
    assert str(score) == "2.5000 ± 1.2652 (n = 4)"
    assert str(Scores(mse=score)) == "mse 2.5000 ± 1.2652 (n = 4)"


def test_one_task_has_no_interval():
    assert Score(torch.tensor([1.0])).interval == math.inf
    assert Scores(accuracy=Score(torch.tensor([1.0]))).summary() == {
        "accuracy": {"mean": 1.0, "interval": None, "n": 1}
    }


def test_the_interval_covers_the_truth_in_95_of_100_repetitions():
    """400 repetitions of 200 standard normals: coverage 0.95 with standard error 0.011."""
    draws = torch.randn(400, 200, generator=torch.Generator().manual_seed(0))
    covered = sum(abs(Score(row).mean) <= Score(row).interval for row in draws) / 400
    assert 0.917 < covered < 0.983


def test_paired_difference_is_narrower_than_the_two_intervals():
    base = torch.randn(100, generator=torch.Generator().manual_seed(0))
    a, b = Score(base + 0.1), Score(base)
    assert a.difference(b).mean == pytest.approx(0.1, abs=1e-6)
    assert a.difference(b).interval < 1e-6 < a.interval
    with pytest.raises(ValueError, match="same 100 tasks"):
        a.difference(Score(base[:50]))


def test_batches_and_last_part_count_every_task_once():
    tasks = Clusters(way=3, shots=2, queries=4)
    scores = evaluate(ProtoNet(Pixels(), Classification(3)), tasks, episodes=25, batch=10, device="cpu")
    assert scores["accuracy"].n == 25 and list(scores) == ["accuracy", "nll"]


def test_same_seed_same_tasks_other_seed_other_tasks():
    tasks, learner = Clusters(way=3), ProtoNet(Pixels(), Classification(3))
    values = [evaluate(learner, tasks, episodes=20, seed=s, device="cpu")["nll"].values for s in (1, 1, 2)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])


def test_needs_no_gradient_and_changes_nothing():
    torch.manual_seed(0)
    learner = Joint(MLP(1, 1), Regression(), fine_tune_steps=2)
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    state = torch.get_rng_state()
    scores = evaluate(learner, Sinusoids(), episodes=5, device="cpu")
    assert learner.training and not scores["mse"].values.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_json_keeps_every_task():
    scores = evaluate(ProtoNet(Pixels(), Classification(3)), Clusters(way=3), episodes=7, device="cpu")
    data = json.loads(scores.to_json(values=True))
    assert len(data["accuracy"]["values"]) == 7
    assert data["accuracy"]["mean"] == pytest.approx(sum(data["accuracy"]["values"]) / 7)
    assert "values" not in json.loads(scores.to_json())["accuracy"]


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [("episodes", 0, ValueError), ("batch", 0, ValueError), ("seed", 1.5, TypeError), ("device", "abacus", ValueError)],
)
def test_bad_arguments_are_named(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: "):
        evaluate(ProtoNet(Pixels(), Classification(3)), Clusters(way=3), **{argument: value})
