"""Few-shot tasks whose classes keep their labels, counted."""

import math

import pytest
import torch

from metabook.registry import make_tasks
from metabook.tasks import FewShot


def generator(device, seed=0):
    return torch.Generator(device=device).manual_seed(seed)


def data(device, classes=8, each=6):
    """Inputs are their own class, so that an episode shows which classes were drawn."""
    y = torch.arange(classes, device=device).repeat(each)
    return y.double().unsqueeze(1), y


def test_a_class_has_the_same_label_in_every_task(device):
    """Eight classes, three labels: label 0 has 0, 3, 6, label 1 has 1, 4, 7, label 2 has 2 and 5, equally often."""
    n = 20_000
    support, query = FewShot(*data(device), way=3, queries=2, fixed_labels=True).sample(n, generator(device))
    for part in (support, query):
        assert torch.equal(part.x[..., 0].long() % 3, part.y)
    drawn = support.x[..., 0].long()
    assert torch.equal(query.x[:, ::2, 0].long(), drawn)
    for label, of_label in enumerate([(0, 3, 6), (1, 4, 7), (2, 5)]):
        share = 1 / len(of_label)
        counts = torch.bincount(drawn[:, label], minlength=8).double() / n
        for c in of_label:
            assert abs(counts[c].item() - share) < 5 * math.sqrt(share * (1 - share) / n)


def test_without_it_a_class_has_every_label(device):
    """Each class stands under each label in 1/8 of the tasks: what makes tasks mutually exclusive."""
    n = 20_000
    support, _ = FewShot(*data(device), way=3, queries=2).sample(n, generator(device))
    for label in range(3):
        share = torch.bincount(support.x[:, label, 0].long(), minlength=8).double() / n
        assert (share - 1 / 8).abs().max() < 5 * math.sqrt(1 / 8 * 7 / 8 / n)


def test_as_many_classes_as_labels_is_one_task(device):
    support, _ = FewShot(*data(device, classes=3), way=3, queries=2, fixed_labels=True).sample(50, generator(device))
    assert support.x[..., 0].tolist() == [[0.0, 1.0, 2.0]] * 50


def test_a_few_letters_spread_over_the_scripts():
    few, every = (make_tasks("glyphs", queries=1, classes=c) for c in (10, None))
    assert few.classes == 10 and every.classes > 100
    shown = {bytes(image.flatten().tolist()) for image in few._data[torch.device("cpu")].x}
    first = [bytes(image.flatten().tolist()) for image in every._data[torch.device("cpu")].x]
    places = [i / len(first) for i, image in enumerate(first) if image in shown]
    assert min(places) < 0.1 and max(places) > 0.8 and len(shown) < len(first) / 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_tasks("glyphs", fixed_labels=True, within_alphabet=True),
            "fixed_labels: True given with within_groups=True; one of the two is allowed",
        ),
        (lambda: make_tasks("glyphs", classes=100_000), r"classes: 100000 given; the train part has \d+ letters"),
        (lambda: make_tasks("glyphs", classes=4), "way: 5 given; the data have at most 4 classes"),
    ],
)
def test_options_that_do_not_go_together(call, message):
    with pytest.raises(ValueError, match=message):
        call()
