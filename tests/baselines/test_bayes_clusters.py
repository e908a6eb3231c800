"""The Bayes classifier of clusters: by hand, by marginal likelihoods, and that nothing beats it."""

import math

import pytest
import torch
from torch.distributions import Categorical, MultivariateNormal

from metabook.baselines.clusters import BayesClusters
from metabook.episode import Episode, Examples
from metabook.evaluation import Score, evaluate
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import Pixels
from metabook.tasks.clusters import Clusters


def test_by_hand():
    """Spread 1, noise 1, one example a class at 1 and -1: centres N(1/2, 1/2) and N(-1/2, 1/2).

    A query at 1 has log-odds (1.5^2 - 0.5^2) / (2 * 1.5) = 2/3 for class 0: probability 1 / (1 + exp(-2/3)).
    """
    learner = BayesClusters(2, spread=1.0, noise=1.0)
    support = Examples(torch.tensor([[[1.0], [-1.0]]]).double(), torch.tensor([[0, 1]]))
    state = learner.adapt(support)
    assert state.mean.flatten().tolist() == pytest.approx([0.5, -0.5])
    assert state.variance.flatten().tolist() == pytest.approx([0.5, 0.5])
    query = Examples(torch.ones(1, 1, 1).double(), torch.tensor([[0]]))
    p = 1 / (1 + math.exp(-2 / 3))
    assert learner.predict(state, query.x).probs.flatten().tolist() == pytest.approx([p, 1 - p])
    assert learner.meta_loss(Episode(support, query)).item() == pytest.approx(-math.log(p))


def test_against_marginal_likelihoods_with_unequal_and_missing_classes():
    """p(x | class) = p(x and the class's points) / p(the class's points), each a Gaussian without any centre.

    Points of one class share a centre: covariance spread^2 between any two, spread^2 + noise^2 with themselves.
    """
    g = torch.Generator().manual_seed(0)
    x, query = torch.randn(2, 6, 3, generator=g).double(), torch.randn(2, 4, 3, generator=g).double()
    y = torch.tensor([[0, 0, 1, 1, 1, 2], [3, 1, 3, 0, 3, 1]])  # classes 3 and 2 have no example

    def log_evidence(points):
        n = len(points)
        if n == 0:
            return 0.0
        c = 4.0 * torch.ones(n, n).double() + 0.25 * torch.eye(n).double()
        return MultivariateNormal(torch.zeros(n).double(), c).log_prob(points.T).sum().item()

    probs = BayesClusters(4, spread=2.0, noise=0.5)(Episode(Examples(x, y), Examples(query, None))).probs
    for i in range(2):
        for q in range(4):
            logits = []
            for c in range(4):
                own = x[i][y[i] == c]
                logits.append(log_evidence(torch.cat([own, query[i, q : q + 1]])) - log_evidence(own))
            torch.testing.assert_close(
                probs[i, q], torch.tensor(logits, dtype=torch.float64).softmax(0), atol=1e-9, rtol=0
            )


class Tempered(BayesClusters):
    """A rival that is surer or less sure than Bayes."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def predict(self, state, query_x):
        return Categorical(logits=self.factor * super().predict(state, query_x).logits)


def test_no_rival_is_better_on_4000_tasks():
    tasks = Clusters()

    def scores(learner):
        return evaluate(learner, tasks, episodes=4000, batch=1000, device="cpu")

    best = scores(BayesClusters())
    rivals = {
        "nearest class mean": ProtoNet(Pixels(), Classification(5)),
        "spread too small": BayesClusters(spread=1.0),
        "spread too large": BayesClusters(spread=10.0),
        "noise too small": BayesClusters(noise=0.5),
        "noise too large": BayesClusters(noise=2.0),
        "too sure": Tempered(1.5),
        "too unsure": Tempered(0.7),
    }
    for name, rival in rivals.items():
        other = scores(rival)
        worse = other["nll"].difference(best["nll"])
        assert worse.mean > worse.interval, name
        better = best["accuracy"].difference(other["accuracy"])
        assert better.mean >= -better.interval, name


def test_unequal_classes_are_weighed_by_their_uncertainty():
    """Class 0 has 10 examples, class 1 has one: Bayes is more accurate than the nearest class mean."""
    episode = Clusters(way=2, shots=10, queries=15, dim=8, spread=1.0).sample(4000, torch.Generator().manual_seed(0))
    uneven = Episode(Examples(episode.support.x[:, :11], episode.support.y[:, :11]), episode.query)
    bayes, nearest = BayesClusters(2, spread=1.0), ProtoNet(Pixels(), Classification(2))
    a, b = (m.likelihood.scores(m(uneven), uneven.query.y)["accuracy"] for m in (bayes, nearest))
    difference = Score(a - b)
    assert difference.mean > 2 * difference.interval


def test_its_scores_are_the_ones_it_expects():
    """Under the true model accuracy = mean of the largest probability, and nll = mean entropy."""
    episode = Clusters().sample(4000, torch.Generator().manual_seed(5))
    learner = BayesClusters()
    prediction = learner(episode)
    scores = learner.likelihood.scores(prediction, episode.query.y)
    for name, expected in (("accuracy", prediction.probs.max(-1).values), ("nll", prediction.entropy())):
        difference = Score(scores[name] - expected.mean(1))
        assert abs(difference.mean) < 1.6 * difference.interval, name


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [("n_way", 1, ValueError), ("spread", 0.0, ValueError), ("noise", -1.0, ValueError), ("noise", "big", TypeError)],
)
def test_bad_arguments_are_named(argument, value, error):
    settings = {"way" if argument == "n_way" else argument: value}
    with pytest.raises(error, match=f"^{argument}: .*given"):
        BayesClusters(**settings)
