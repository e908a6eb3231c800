"""The interface: what a learner must give, what it gets, and what it says of itself."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.likelihood import Regression
from metabook.nn import MLP, Conv4, TaskBatchNorm


class Mean(MetaLearner):
    """Predicts the mean of the support targets plus the query's own input: traces what reaches which method."""

    def __init__(self, *modules):
        super().__init__(Regression())
        self.parts = nn.ModuleList(modules)

    def adapt(self, support):
        return support.y.mean(1, keepdim=True)

    def predict(self, state, query_x):
        return Normal(state + query_x, 1.0)

    def meta_loss(self, batch):
        return self(batch).mean.mean()


def test_forward_adapts_on_the_support_set_and_predicts_the_queries():
    """Support targets 1 and 3 have mean 2; query inputs 10 and 20; the query targets are not read."""
    support = Examples(torch.tensor([[[5.0], [6.0]]]), torch.tensor([[[1.0], [3.0]]]))
    query = Examples(torch.tensor([[[10.0], [20.0]]]), torch.full((1, 2, 1), torch.nan))
    assert Mean()(Episode(support, query)).mean.flatten().tolist() == [12.0, 22.0]


def test_a_learner_holds_its_likelihood_and_no_parameters_of_its_own():
    learner = Mean()
    assert isinstance(learner.likelihood, Regression) and not list(learner.parameters())
    assert learner.ordered is False


@pytest.mark.parametrize("missing", ["adapt", "predict", "meta_loss"])
def test_every_question_needs_an_answer(missing):
    answers = {name: getattr(Mean, name) for name in ("adapt", "predict", "meta_loss") if name != missing}
    incomplete = type("Incomplete", (MetaLearner,), answers)
    with pytest.raises(TypeError, match=f"abstract method '?{missing}'?"):
        incomplete(Regression())


def test_forward_is_overridden_by_no_system():
    from metabook.baselines import BayesClusters, BayesLinear, ExactGP, Joint
    from metabook.metric import ProtoNet
    from metabook.optimization import MAML

    for system in (MAML, ProtoNet, Joint, BayesLinear, BayesClusters, ExactGP):
        assert system.forward is MetaLearner.forward, system


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (TaskBatchNorm(3), True),
        (Conv4(1, width=4), True),
        (Conv4(1, width=8, norm="group"), False),
        (Conv4(1, width=4, norm="none"), False),
        (MLP(2, 2), False),
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), True),
        (nn.Sequential(nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3)), False),
    ],
    ids=["task batch norm", "Conv4", "Conv4 group", "Conv4 none", "MLP", "torch batch norm", "torch other norms"],
)
def test_batch_statistics_make_a_learner_transductive(module, expected):
    assert Mean(nn.Sequential(module)).transductive is expected


def test_kept_statistics_are_transductive_in_training_only():
    learner = Mean(nn.BatchNorm1d(3))
    assert learner.transductive and not learner.eval().transductive
