"""Letters as vectors: from a network that has seen no letter it is asked about, the same every time."""

import pytest
import torch

from metabook import embeddings, pretrained
from metabook.data import glyphs
from metabook.pretrain import RECIPES
from metabook.registry import make_tasks
from metabook.tasks.distort import Distort


def test_the_network_has_seen_no_letter_of_the_other_parts():
    """Its recipe trains on the train part of glyphs with no option that changes the part, and keeps the last weights.

    No letter and no script of the train part is in another part; no image either.
    """
    recipe, said = RECIPES[embeddings.NETWORK], pretrained.card(embeddings.NETWORK)
    assert recipe.tasks == said["tasks"] == "glyphs" and not recipe.validated
    assert "part" not in {**recipe.task_options, **recipe.train_options}
    train = glyphs.load("train")
    pictures = {image.numpy().tobytes() for image in train.images}
    for part in ("validation", "test"):
        other = glyphs.load(part)
        assert not set(train.names) & set(other.names) and not set(train.group_names) & set(other.group_names)
        assert not pictures & {image.numpy().tobytes() for image in other.images}


def test_vectors_by_the_layers_one_by_one():
    """Three blocks of the pretrained network, flattened, centred, divided by the length."""
    images = glyphs.load("test").images[:3]
    net, vectors = pretrained.load("glyphs").net, embeddings.embed(images)
    x = images[None].float() / 255
    with torch.no_grad():
        for layer in list(net.features)[:12]:
            x = layer(x)
    assert x.shape == (1, 3, 64, 3, 3) and vectors.shape == (3, 576)
    centred = x[0].reshape(3, -1) - embeddings._centre()
    for ours, right in zip(vectors, centred, strict=True):
        torch.testing.assert_close(ours, right / right.square().sum().sqrt())
    torch.testing.assert_close(embeddings.embed(images.float() / 255), vectors)


def test_the_centre_is_the_mean_over_the_first_drawing_of_each_training_letter():
    data = glyphs.load("train").select(range(4))
    first = [next(i for i in range(len(data.labels)) if data.labels[i] == c) for c in range(4)]
    whole = glyphs.load("train")
    counts = torch.bincount(whole.labels)
    found = whole.labels.argsort(stable=True)[counts.cumsum(0) - counts]
    assert torch.equal(whole.images[found[:4]], data.images[first])
    assert whole.labels[found].tolist() == list(range(len(whole.names)))


def test_copies_are_made_once_and_are_those_of_the_seed():
    part = {"part": "test", "classes": 6, "copies": 2}
    tasks = make_tasks("glyph-embeddings", way=3, queries=2, **part)
    x, y = embeddings._glyphs("test", 2, 6)
    assert embeddings._glyphs("test", 2, 6)[0] is x and x.shape == (len(y), 2, 576) and len(y.unique()) == 6
    generator = torch.Generator().manual_seed(embeddings.SEED + 2)
    images = embeddings.glyph_images("test", 6).images.float() / 255
    copies = [embeddings.embed(Distort()(images, generator)) for _ in range(2)]
    torch.testing.assert_close(x, torch.stack(copies, 1))
    episode = tasks.sample(2, torch.Generator().manual_seed(0))
    assert tasks.x_shape == (576,) and episode.query.x.shape == (2, 6, 576)
    known = {row.numpy().tobytes() for row in x.flatten(0, 1)}
    assert {row.numpy().tobytes() for row in episode.query.x.flatten(0, 1)} <= known


def test_handwritten_letters_are_split_as_in_omniglot(monkeypatch):
    asked = []

    def images(part, split, held_out):
        asked.append((part, split, held_out))
        return glyphs.load("validation").select(range(5))

    monkeypatch.setattr(embeddings, "omniglot_images", images)
    embeddings._omniglot.cache_clear()
    tasks = make_tasks("omniglot-embeddings", part="test", way=4, queries=1, split="small1", held_out="small2")
    embeddings._omniglot.cache_clear()
    assert asked == [("test", "small1", "small2")] and tasks.copies == 1 and tasks.x_shape == (576,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 0}, "copies: 0 given; at least 1"),
        ({"classes": 5000}, "classes: 5000 given; the test part has"),
        ({"classes": 4}, "way: 5 given; the data have at most 4 classes"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_tasks("glyph-embeddings", part="test", **{"copies": 1, **options})
