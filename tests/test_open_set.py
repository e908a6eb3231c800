"""None of these: the score by hand, and thresholds that refuse the share they promise."""

from __future__ import annotations

import math

import pytest
import torch

import metabook
from metabook.calibration import LEVELS
from metabook.classify import adapt, log_probabilities
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import Pixels
from metabook.open_set import calibrate, closeness
from metabook.tasks.images import FewShot


def test_closeness_of_prototypes_by_hand():
    """Class 0 has the examples 0 and 2, mean 1; class 1 has 10. The query 4 is 9 from the first, squared, which counts
    9 / (1 + 1/2) = 6, and 36 / (1 + 1) = 18 from the second: closeness -6. The query 7: 36 / 1.5 = 24, 9 / 2 = 4.5."""
    learner = ProtoNet(Pixels(), Classification(2))
    adapted = adapt(learner, torch.tensor([[0.0], [2.0], [10.0]]), torch.tensor([0, 0, 1]))
    assert adapted.shots.tolist() == [2, 1]
    torch.testing.assert_close(closeness(adapted, torch.tensor([[4.0], [7.0]])), torch.tensor([-6.0, -4.5]))


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_the_correction_makes_shots_comparable(shots):
    """Embeddings of a class are normal with covariance I in D dimensions: E|z - c|^2 = D (1 + 1/K). After the
    correction the mean is D for every K; with n = 20,000 the standard error is below 0.3 % of it."""
    g, dimensions, n = torch.Generator().manual_seed(0), 8, 20_000
    centre = torch.randn(n, shots, dimensions, generator=g).mean(1)
    query = torch.randn(n, dimensions, generator=g)
    adapted = adapt(ProtoNet(Pixels(), Classification(2)), torch.zeros(2, dimensions), torch.tensor([0, 1]))
    far = torch.full((1, 1, dimensions), 1e4)
    score = [
        closeness(adapted._replace(state=torch.cat([c[None, None], far], 1), shots=torch.tensor([shots, 1])), q[None])
        for c, q in zip(centre[:2000], query[:2000], strict=True)
    ]
    assert -torch.cat(score).mean().item() == pytest.approx(dimensions, rel=0.05)
    uncorrected = (query - centre).square().sum(1).mean().item()
    assert uncorrected == pytest.approx(dimensions * (1 + 1 / shots), rel=0.02)


def test_other_learners_have_the_log_of_the_highest_probability():
    tasks = metabook.make_tasks("clusters")
    learner = metabook.build("maml", tasks, seed=0)
    support, query = tasks.sample(1, torch.Generator().manual_seed(0))
    adapted = adapt(learner, support.x[0], support.y[0])
    wanted = log_probabilities(adapted, query.x[0]).max(1).values
    torch.testing.assert_close(closeness(adapted, query.x[0]), wanted)
    assert wanted.max() <= 0 and wanted.min() >= math.log(1 / tasks.likelihood.size) - 1e-6


@pytest.fixture(scope="module")
def blobs():
    """60 classes around points in a plane, 12 examples each; and which are for calibration and which for test."""
    g = torch.Generator().manual_seed(0)
    x = (6 * torch.randn(60, 1, 2, generator=g) + torch.randn(60, 12, 2, generator=g)).flatten(0, 1)
    y = torch.arange(60).repeat_interleave(12)
    return [FewShot(x[s], y[s] - y[s].min(), way=4, shots=2, queries=5) for s in (slice(0, 360), slice(360, 720))]


def test_a_threshold_refuses_the_share_of_known_queries_that_it_promises(blobs):
    learner = ProtoNet(Pixels(), Classification(4))
    calibration = calibrate(learner, blobs[:1], episodes=300)
    assert len(calibration.thresholds) == len(LEVELS)
    assert list(calibration.thresholds) == sorted(calibration.thresholds)
    known = []
    for _ in range(300):  # other classes, 6,000 queries
        support, query = blobs[1].sample(1, torch.Generator().manual_seed(len(known)))
        known.append(closeness(adapt(learner, support.x[0], support.y[0]), query.x[0]))
    for share in (0.05, 0.2):
        refused = (torch.cat(known) < calibration.threshold(share)).double().mean().item()
        assert refused == pytest.approx(share, abs=0.03)


def test_the_temperature_of_squared_distances_is_found(blobs):
    """Two examples a class and unit noise: given the mean c of two, and a flat prior over centres, a query of the class
    is normal around c with variance 1 + 1/2, so that the posterior has the logits -d^2 / (2 * 3/2). Prototypical
    networks use -d^2, and need T = 3. (The prior here is not quite flat: its deviation is 6.)"""
    calibration = calibrate(ProtoNet(Pixels(), Classification(4)), blobs, episodes=300)
    assert 2.6 < calibration.temperature < 3.4


def test_the_same_seed_gives_the_same_calibration(blobs):
    learner = ProtoNet(Pixels(), Classification(4))
    once, again, other = (calibrate(learner, blobs, episodes=5, seed=s) for s in (0, 0, 1))
    assert tuple(once) == tuple(again) != tuple(other)


@pytest.mark.parametrize(
    ("tasks", "options", "error", "says"),
    [
        ([], {}, ValueError, "tasks: "),
        (["clusters"], {"episodes": 0}, ValueError, "episodes: 0 given"),
        (["clusters"], {"seed": -1}, ValueError, "seed: -1 given"),
    ],
)
def test_calibrate_refuses_what_does_not_fit(tasks, options, error, says):
    with pytest.raises(error, match=says):
        calibrate(ProtoNet(Pixels(), Classification(5)), [metabook.make_tasks(t) for t in tasks], **options)
