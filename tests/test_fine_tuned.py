"""Practice on the support set: by hand, against a loop written out, and the limits in which it changes nothing."""

import pytest
import torch
from torch import nn
from torch.distributions import Categorical

import metabook
from metabook.episode import Episode, Examples
from metabook.fine_tuned import FineTuned
from metabook.learner import MetaLearner
from metabook.likelihood import Classification, Regression
from metabook.metric import BestView, ProtoNet
from metabook.muon import Muon
from metabook.nn import Conv4, Pixels
from metabook.optimization import MAML
from metabook.tasks.distort import MILD


class Weighed(MetaLearner):
    """Two classes; logits are 0 and w times the mean of a query; the support set counts in practice alone."""

    def __init__(self):
        super().__init__(Classification(2))
        self.w = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def adapt(self, support):
        return support.x.flatten(1).sum(1) * 0

    def predict(self, state, query_x):
        z = self.w * query_x.flatten(2).mean(2) + state[:, None]
        return Categorical(logits=torch.stack([torch.zeros_like(z), z], -1))

    def meta_loss(self, batch):
        return -self(batch).log_prob(batch.query.y).mean()


def same(x, generator):
    return x


def test_by_hand():
    """One example, a pixel of 1 with label 1: the loss falls as w rises. Muon's first step of a single number is
    Adam's, lr / 6 whatever the size of the gradient: with lr 0.6, w goes from 0.5 to 0.6. In a task with label 0 it
    goes to 0.4. The logit of a query of 2 is 2 w.
    """
    x = torch.ones(2, 1, 1, 1, 1, dtype=torch.float64)
    support = Examples(x, torch.tensor([[1], [0]]))
    learner = FineTuned(Weighed(), same, steps=1, lr=0.6)
    state = learner.adapt(support)
    torch.testing.assert_close(state.weights["w"], torch.tensor([0.6, 0.4], dtype=torch.float64))
    logits = learner.predict(state, 2 * x).logits[:, 0]
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], torch.tensor([1.2, 0.8], dtype=torch.float64))
    assert learner.learner.w.item() == 0.5


def draw(b=2, way=3, shots=1, size=16):
    generator = torch.Generator().manual_seed(0)
    x = [torch.rand(b, n, 1, size, size, generator=generator, dtype=torch.float64) for n in (way * shots, 5)]
    return Episode(
        Examples(x[0], torch.arange(way).repeat_interleave(shots).repeat(b, 1)),
        Examples(x[1], torch.randint(0, way, (b, 5), generator=generator)),
    )


def proto(**options):
    torch.manual_seed(0)
    net = Conv4(1, width=4, size=16, norm="group")
    return ProtoNet(net, Classification(3), scale=5.0, **options).double()


@pytest.mark.parametrize(("shots", "swap"), [(1, True), (2, False)])
def test_against_the_loop_written_out(shots, swap):
    episode = draw(shots=shots)
    probs = FineTuned(proto(swap=swap), MILD, steps=3, lr=0.02, seed=7)(episode).probs
    for b in range(2):
        learner, generator = proto(swap=swap), torch.Generator().manual_seed(7)
        optimizer = Muon(learner.parameters(), 0.02)
        x, y = episode.support.x[b], episode.support.y[b : b + 1]
        for _ in range(3):
            both = MILD(torch.cat([x, x]), generator)
            shown, asked = both[: 3 * shots], both[3 * shots :]
            loss = learner.meta_loss(Episode(Examples(shown[None], y), Examples(asked[None], y)))
            learner.zero_grad()
            loss.backward()
            optimizer.step()
        expected = learner.predict(learner.adapt(Examples(x[None], y)), episode.query.x[b : b + 1])
        torch.testing.assert_close(probs[b : b + 1], expected.probs, rtol=1e-9, atol=1e-12)


def test_without_steps_it_is_the_learner_itself():
    torch.testing.assert_close(FineTuned(proto(), MILD, steps=0)(draw()).probs, proto()(draw()).probs)


def test_the_learner_stays_as_it_was_and_a_mode_without_gradients_changes_nothing():
    learner = FineTuned(proto(), MILD, steps=2)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    with torch.no_grad():
        without = learner(draw()).probs
    torch.testing.assert_close(learner(draw()).probs, without)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert (without - proto()(draw()).probs).abs().max() > 1e-3
    assert not any(weight.requires_grad for weight in learner.adapt(draw().support).weights.values())


def test_one_task_alone_and_one_query_alone_are_predicted_alike():
    learner, episode = FineTuned(proto(), MILD, steps=2), draw()
    together = learner(episode).probs
    alone = learner.predict(
        learner.adapt(Examples(episode.support.x[1:], episode.support.y[1:])), episode.query.x[1:, 2:3]
    )
    torch.testing.assert_close(together[1:, 2:3], alone.probs)


def test_the_best_view_with_practice():
    """The steps are those of the network inside; the views are then made with the network of each task."""
    tuned, best = (FineTuned(make, MILD, steps=2) for make in (proto(), BestView(proto(), MILD, copies=1)))
    torch.testing.assert_close(tuned(draw()).probs, best(draw()).probs)
    two = FineTuned(BestView(proto(), MILD, copies=2), MILD, steps=2)
    state = two.adapt(draw().support)
    assert state.state.shape[:2] == (2, 6) and two.predict(state, draw().query.x).probs.shape == (2, 5, 3)


def test_practice_helps_a_network_that_has_learned_nothing():
    """On new letters a random network's class means say little; ten steps on distorted copies say much more."""
    tasks = metabook.make_tasks("glyphs", part="test", way=5, queries=5)
    plain = metabook.build("prototypical", tasks, width=16, norm="group")
    before, after = (
        metabook.evaluate(learner, tasks, episodes=30, batch=10, seed=1, device="cpu")["accuracy"].mean
        for learner in (plain, FineTuned(plain, tasks.distort, steps=10, lr=0.03))
    )
    assert after > before + 0.08


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FineTuned(MAML(nn.Linear(1, 1), Regression()), MILD), ValueError, "practice is for classes only"),
        (lambda: FineTuned(ProtoNet(Pixels(), Classification(3)), MILD), ValueError, "ProtoNet given has no weights"),
        (lambda: FineTuned(proto(), MILD, steps=-1), ValueError, "steps: -1 given"),
        (lambda: FineTuned(proto(), MILD, lr=0), ValueError, "lr: 0 given"),
    ],
)
def test_what_does_not_fit(make, error, message):
    with pytest.raises(error, match=message):
        make()
