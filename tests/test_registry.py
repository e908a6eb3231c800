"""The one list: every entry builds, every wrong name and option is named."""

from types import SimpleNamespace

import pytest
import torch

from metabook.likelihood import Classification, Regression
from metabook.nn import Strided
from metabook.registry import REFERENCES, SYSTEMS, TASKS, build, find_system, make_tasks

SYNTHETIC = ["sinusoids", "linear", "clusters", "gp"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_builds_for_every_kind_it_names(name):
    tasks = {Regression: make_tasks("sinusoids"), Classification: make_tasks("clusters")}
    for kind in SYSTEMS[name].kinds:
        learner = build(name, tasks[kind])
        episode = tasks[kind].sample(2, torch.Generator().manual_seed(0))
        assert learner(episode).batch_shape[-2:] == episode.query.y.shape[:2]  # latent samples may lead
        assert torch.isfinite(learner.meta_loss(episode))


@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_builds_and_is_no_system(name):
    assert name not in SYSTEMS and find_system(name) is REFERENCES[name]
    family = {"bayes-functions": "function-families", "bayes-clusters": "clusters"}.get(name, "glyphs")
    tasks = make_tasks(family, queries=2)
    learner, episode = build(name, tasks), tasks.sample(2, torch.Generator().manual_seed(0))
    assert learner(episode).batch_shape[-2:] == episode.query.y.shape[:2]
    assert torch.isfinite(learner.meta_loss(episode))


def test_a_generator_of_drawings_refuses_vectors():
    with pytest.raises(ValueError, match=r"one-shot-generator bends square drawings \[1, H, H\]; inputs \[2\] given"):
        build("one-shot-generator", make_tasks("clusters"))


def test_bayes_for_clusters_refuses_images():
    with pytest.raises(ValueError, match=r"bayes-clusters is for points; inputs \[1, 28, 28\] given"):
        build("bayes-clusters", make_tasks("glyphs"))


def test_layers_are_the_hidden_widths_of_a_network_of_vectors():
    """A linear map and no more: of inputs 2 to 5 classes, or to 64 features."""
    tasks = make_tasks("clusters")
    shapes = {
        name: [list(p.shape) for p in build(name, tasks, layers=()).parameters()]
        for name in ("maml", "anil", "prototypical")
    }
    assert shapes == {
        "maml": [[5, 2], [5]],
        "anil": [[64, 2], [64], [5, 64], [5]],
        "prototypical": [[64, 2], [64]],
    }
    with pytest.raises(ValueError, match=r"layers: .* given with distance local"):
        build("prototypical", make_tasks("glyphs"), layers=(), distance="local")


@pytest.mark.parametrize("name", [n for n, s in SYSTEMS.items() if Regression not in s.kinds])
def test_a_system_refuses_targets_it_cannot_learn(name):
    with pytest.raises(ValueError, match=f"system: {name} does classification; these tasks are regression"):
        build(name, make_tasks("sinusoids"))


@pytest.mark.parametrize("name", [*SYNTHETIC, "glyphs"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_every_task_family_has_three_parts(name, part):
    tasks = make_tasks(name, part=part)
    episode = tasks.sample(2, torch.Generator().manual_seed(0))
    assert episode.batch_size == 2 and tuple(episode.query.x.shape[2:]) == tasks.x_shape
    tasks.likelihood.check("query", episode.query)


def test_the_seed_fixes_the_first_weights():
    tasks = make_tasks("sinusoids")
    a, b, c = (torch.cat([p.flatten() for p in build("maml", tasks, seed=s).parameters()]) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_build_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build("maml", make_tasks("sinusoids"), seed=7)
    assert torch.equal(before, torch.get_rng_state())


def test_options_reach_the_system():
    learner = build("maml", make_tasks("sinusoids"), inner_lr=0.5, inner_steps=3)
    assert learner.inner_lr == 0.5 and learner.inner_steps == 3 and not learner.first_order
    assert build("maml-first-order", make_tasks("sinusoids")).first_order


def test_the_papers_inner_rate_is_the_default():
    assert build("maml", make_tasks("sinusoids")).inner_lr == 0.01
    assert build("maml", make_tasks("glyphs")).inner_lr == 0.4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: build("mamml", t), "system: 'mamml' given; known are .*; did you mean maml?"),
        (lambda t: build("maml", t, inner_rate=1), "inner_rate: not an option of maml; it has inner_lr, "),
        (lambda t: build("maml", t, seed=-1), "seed: -1 given"),
        (lambda t: make_tasks("sinusoid s"), "tasks: 'sinusoid s' given; known are .*; did you mean sinusoids?"),
        (lambda t: make_tasks("sinusoids", part="exam"), "part: 'exam' given; allowed are train, validation, test"),
        (lambda t: make_tasks("sinusoids", ways=3), "ways: not an option of sinusoids; it has shots"),
    ],
)
def test_wrong_names_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(make_tasks("sinusoids"))


def test_every_entry_says_what_it_is():
    for name, system in SYSTEMS.items():
        assert system.idea and system.chapter, name
        assert isinstance(system.options(), dict)
    for name, family in TASKS.items():
        assert family.idea, name


def test_the_strided_backbone_is_for_images_and_has_no_width():
    """It is the network of the challenge's recipe; its weights are those of a ``Strided`` network."""
    images = SimpleNamespace(likelihood=Classification(3), x_shape=(1, 36, 36))
    learner = build("prototypical", images, backbone="strided", norm="group")
    assert isinstance(learner.net, Strided) and not learner.transductive
    for options in ({"backbone": "strided", "width": 8}, {"backbone": "stridden"}):
        with pytest.raises(ValueError, match="backbone: "):
            build("prototypical", images, **options)
    with pytest.raises(ValueError, match=r"backbone: strided given for inputs \[2\]"):
        build("prototypical", SimpleNamespace(likelihood=Classification(3), x_shape=(2,)), backbone="strided")
