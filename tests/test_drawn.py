"""Quality and diversity of drawings that are added to a support set, where they are known."""

import pytest
import torch

from metabook import drawn, make_tasks
from metabook.enlarged import Enlarged
from metabook.episode import Episode, Examples
from metabook.learner import MetaLearner
from metabook.metric import ProtoNet
from metabook.nn import Pixels

TASKS = make_tasks("glyphs", part="test", way=4, queries=2)
BATCH = TASKS.sample(3, torch.Generator().manual_seed(0))
FIRST, SECOND = ([q.view(3, 4, 2, *q.shape[2:])[:, :, i] for q in BATCH.query] for i in (0, 1))


class Adds(MetaLearner):
    """Adds the given images [B, n, C, H, W] to every support set; the support classes again and again."""

    def __init__(self, *copies):
        super().__init__(TASKS.likelihood)
        self.copies = copies

    def adapt(self, support):
        return Examples(torch.cat([support.x, *self.copies], 1), support.y.repeat(1, 1 + len(self.copies)))

    def predict(self, state, query_x):
        raise NotImplementedError

    def meta_loss(self, batch):
        raise NotImplementedError


def test_real_drawings_are_true_and_those_of_another_class_are_not():
    """The judge's only drawing of a class is the copy itself, at distance 0; then it is that of the next class."""
    assert torch.equal(FIRST[1], BATCH.support.y)
    batch, right, wrong = Episode(BATCH.support, Examples(*FIRST)), FIRST[0], FIRST[0].roll(1, 1)
    assert drawn.quality(Adds(right), batch, None).tolist() == [1.0] * 3
    assert drawn.quality(Adds(wrong), batch, None).tolist() == [0.0] * 3
    assert drawn.quality(Adds(right, wrong), batch, None).tolist() == [0.5] * 3


def test_diversity_by_hand():
    """Real drawings differ as much as real drawings; a copy twice does not differ; half the ink, half the distance."""
    assert torch.equal(FIRST[1], SECOND[1])
    real, score = Adds(FIRST[0], SECOND[0]), drawn.SCORES["diversity"]
    torch.testing.assert_close(score(real, BATCH, None), torch.ones(3))
    torch.testing.assert_close(score(Adds(FIRST[0] / 2, SECOND[0] / 2), BATCH, None), torch.full((3,), 0.5))
    assert score(Adds(FIRST[0], FIRST[0]), BATCH, None).abs().max() < 1e-3
    in_features = drawn.SCORES["diversity in features"]
    torch.testing.assert_close(in_features(real, BATCH, None), torch.ones(3), rtol=1e-3, atol=0)
    assert in_features(Adds(FIRST[0], FIRST[0]), BATCH, None).max() < 0.01


def test_spread_by_hand():
    """On a line: 0 and 3 of one group, 1, 2 and 5 of another: 3; 1, 4, 3. The mean of four pairs is 11 / 4."""
    x = torch.tensor([[[0.0], [1.0], [3.0], [2.0], [5.0]]])
    assert drawn.spread(x, torch.tensor([[7, 8, 7, 8, 8]])).tolist() == pytest.approx([11 / 4])
    with pytest.raises(ValueError, match="groups: no two of one group given"):
        drawn.spread(x, torch.arange(5).unsqueeze(0))


def test_a_learner_without_copies_is_named():
    plain = Enlarged(lambda x, generator: x, TASKS.likelihood, copies=0)
    for learner in (plain, ProtoNet(Pixels(), TASKS.likelihood)):
        with pytest.raises(ValueError, match=f"learner: {type(learner).__name__} adds no copies"):
            drawn.quality(learner, BATCH, None)
