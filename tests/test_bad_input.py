"""Bad input, by the kind: one line that names the argument and says how to mend it, and nothing half-written left."""

from __future__ import annotations

import pytest
import torch

import metabook
from metabook.baselines import BayesClusters, ExactGP
from metabook.device import pick_device
from metabook.episode import Episode, Examples
from metabook.likelihood import Classification, Regression
from metabook.mapping import run as map_run
from metabook.metric import ProtoNet
from metabook.nn import MLP, Conv4, Pixels, TaskBatchNorm
from metabook.optimization import MAML
from metabook.registry import build, make_tasks
from metabook.tasks import Clusters, FewShot, GaussianProcess, LinearRegression, Sinusoids

PNG = bytes.fromhex(  # one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6368000000820081dd436af4"
    "0000000049454e44ae426082"
)


def episode(**changes):
    """Two 3-way tasks of vectors, with one of its four tensors changed."""
    y = torch.arange(3).repeat(2, 2)
    parts = {"support_x": torch.rand(2, 6, 4), "support_y": y, "query_x": torch.rand(2, 6, 4), "query_y": y, **changes}
    return Episode(Examples(parts["support_x"], parts["support_y"]), Examples(parts["query_x"], parts["query_y"]))


class Fixed:
    """Tasks that always give the same episode."""

    likelihood, x_shape = Classification(3), (4,)

    def __init__(self, **changes):
        self.episode = episode(**changes)

    def sample(self, n, generator):
        return self.episode

    def score(self, learner, batch):
        return learner.likelihood.scores(learner(batch), batch.query.y)


def proto():
    return ProtoNet(MLP(4, 8), Classification(3))


def sine_net(**options):
    return MAML(MLP(1, 1, hidden=(4,)), Regression(), **options)


def train(tmp, learner=None, tasks=None, **options):
    options = {"steps": 2, "batch": 2, "out": tmp / "run", "progress": "none", "device": "cpu", **options}
    return metabook.train(learner or sine_net(), tasks or Sinusoids(), **options)


def images(n=12, classes=3):
    return torch.zeros(n, 1, 28, 28, dtype=torch.uint8), torch.arange(n) % classes


# name of the kind: (what is done, what the one line must say)
LIBRARY = {
    "x without a task dimension": (
        lambda t: train(t, proto(), Fixed(support_x=torch.rand(6, 4))),
        "support: x of shape .* must be",
    ),
    "support and query of other sizes": (
        lambda t: train(t, proto(), Fixed(query_x=torch.rand(2, 6, 5))),
        "query.x: .*support set",
    ),
    "other numbers of tasks": (
        lambda t: train(t, proto(), Fixed(query_x=torch.rand(3, 6, 4), query_y=torch.zeros(3, 6, dtype=torch.int64))),
        "query: 3 tasks",
    ),
    "no examples": (
        lambda t: train(t, proto(), Fixed(support_x=torch.rand(2, 0, 4), support_y=torch.zeros(2, 0).long())),
        "support.x: .*at least one",
    ),
    "whole numbers as inputs": (
        lambda t: train(t, proto(), Fixed(support_x=torch.ones(2, 6, 4, dtype=torch.int64))),
        "support.x: torch.int64 .*floating",
    ),
    "NaN in the inputs": (
        lambda t: train(t, proto(), Fixed(query_x=torch.full((2, 6, 4), torch.nan))),
        "query: NaN .*finite",
    ),
    "float classes": (
        lambda t: train(t, proto(), Fixed(support_y=torch.rand(2, 6))),
        "support.y: torch.float32 .*int64",
    ),
    "a label above the ways": (
        lambda t: train(t, proto(), Fixed(query_y=torch.full((2, 6), 3))),
        "query.y: labels 3 .*0 to 2",
    ),
    "a negative label": (
        lambda t: train(t, proto(), Fixed(query_y=torch.full((2, 6), -1))),
        "query.y: labels -1 .*0 to 2",
    ),
    "no steps": (lambda t: train(t, steps=0), "steps: 0 given; at least 1"),
    "a negative count": (lambda t: train(t, batch=-3), "batch: -3 given; at least 1"),
    "a fraction as a count": (lambda t: train(t, steps=2.5), "steps: 2.5 given; a whole number"),
    "True as a count": (lambda t: train(t, batch=True), "batch: True given; a whole number"),
    "an infinite rate": (lambda t: train(t, lr=float("inf")), "lr: inf given; a finite number above 0"),
    "text as a rate": (lambda t: train(t, lr="fast"), "lr: 'fast' given; a number above 0"),
    "a negative seed": (lambda t: train(t, seed=-1), "seed: -1 given; .*from 0"),
    "a device that is not there": (lambda t: train(t, device="cuda:99"), "device: 'cuda:99' given; this machine has"),
    "a device that does not exist": (lambda t: pick_device("abacus"), "device: 'abacus' given; this machine has"),
    "a loss that stops being finite": (
        lambda t: train(t, sine_net(inner_lr=1e30, inner_steps=3)),
        "meta-loss: .*lower lr",
    ),
    "nothing to train": (
        lambda t: train(t, ProtoNet(Pixels(), Classification(3)), Fixed()),
        "learner: ProtoNet has no meta-parameters",
    ),
    "resume without a folder": (lambda t: train(t, out=None, resume=True), "resume: True given without out"),
    "no episodes": (lambda t: metabook.evaluate(sine_net(), Sinusoids(), episodes=0), "episodes: 0 given; at least 1"),
    "scores of other tasks": (
        lambda t: metabook.evaluate(sine_net(), Sinusoids(), episodes=4, device="cpu")["mse"].difference(
            metabook.evaluate(sine_net(), Sinusoids(), episodes=5, device="cpu")["mse"]
        ),
        "other: 5 tasks given; .*same 4",
    ),
    "predictions that are not finite": (
        lambda t: metabook.evaluate(sine_net(inner_lr=1e30, inner_steps=3), Sinusoids(), episodes=7, device="cpu"),
        "outputs: 105 of 105 not finite; lower .*inner_lr",
    ),
    "scores that are not finite": (
        lambda t: metabook.evaluate(sine_net(inner_steps=0), Sinusoids(amplitude=(1e30, 1e30)), episodes=7, batch=3),
        "mse: not finite on 7 of 7 tasks; lower .*inner_lr",
    ),
    "no validation episodes": (
        lambda t: train(t, validation=Sinusoids(), validation_episodes=0),
        "validation_episodes: 0 given; at least 1",
    ),
    "outputs that would broadcast against the targets": (
        lambda t: Regression().loss(torch.rand(2, 5, 3), torch.rand(2, 5, 1)),
        r"outputs: shape \[2, 5, 3\] given; the network must return \[2, 5, 1\]",
    ),
    "logits of other tasks": (
        lambda t: Classification(3).loss(torch.rand(6, 2, 3), torch.zeros(2, 6, dtype=torch.int64)),
        r"outputs: shape \[6, 2, 3\] given; the network must return \[2, 6, 3\]",
    ),
    "predictions of too many classes": (
        lambda t: Classification(3).distribution(torch.rand(2, 5, 4)),
        r"outputs: shape \[2, 5, 4\] given; the network must return \[2, 5, 3\]",
    ),
    "predictions of too many dimensions": (
        lambda t: Regression(1).distribution(torch.rand(2, 5, 4)),
        r"outputs: shape \[2, 5, 4\] given; the network must return \[2, 5, 1\]",
    ),
    "a class in place of a likelihood": (
        lambda t: MAML(MLP(1, 1), Regression),
        "likelihood: <class .*Regression.* given; a Likelihood is needed",
    ),
    "a hidden layer of nothing": (lambda t: MLP(1, 1, hidden=(8, 0)), "hidden: 0 given; at least 1"),
    "a network without channels": (lambda t: Conv4(0), "channels: 0 given; at least 1"),
    "a network without outputs": (lambda t: Conv4(1, 0), "outputs: 0 given; at least 1"),
    "a width of nothing": (lambda t: build("maml", Sinusoids(), width=0), "width: 0 given; at least 1"),
    "a norm that does not exist, for vectors": (
        lambda t: build("maml", Sinusoids(), norm="layer"),
        "norm: 'layer' given; allowed are batch, group, none",
    ),
    "a folder without its path": (lambda t: make_tasks("folder"), "tasks: folder given .*write folder:PATH"),
    "a device that draws nothing": (lambda t: pick_device("meta"), "device: 'meta' given; this machine has"),
    "one way": (lambda t: Classification(1), "n_way: 1 given; at least 2"),
    "prototypes of numbers": (
        lambda t: ProtoNet(MLP(1, 8), Regression()),
        "likelihood: Regression.* given; .*Classification",
    ),
    "a net with running statistics": (
        lambda t: MAML(torch.nn.BatchNorm1d(4), Regression()),
        "net: layer .*TaskBatchNorm",
    ),
    "negative inner steps": (lambda t: sine_net(inner_steps=-1), "inner_steps: -1 given; at least 0"),
    "a norm that does not exist": (
        lambda t: Conv4(1, norm="layer"),
        "norm: 'layer' given; allowed are batch, group, none",
    ),
    "images too small for the network": (lambda t: Conv4(1, size=8), "size: 8 pixels given; .*at least 16"),
    "batch norm of one value": (lambda t: TaskBatchNorm(4)(torch.rand(2, 1, 4)), "x: shape .*at least 2"),
    "an unknown way to map": (
        lambda t: map_run(MLP(1, 1), torch.rand(2, 3, 1), how="magic"),
        "how: 'magic' given; allowed are",
    ),
    "ends of a range the wrong way round": (lambda t: Sinusoids(amplitude=(5, 1)), "amplitude: "),
    "no queries": (lambda t: Clusters(queries=0), "queries: 0 given; at least 1"),
    "noise below zero": (lambda t: LinearRegression(noise=-1), "noise: -1"),
    "an unknown kernel": (lambda t: GaussianProcess(kernel="triangle"), "kernel: 'triangle' given; allowed are"),
    "an optimum for no ways": (lambda t: BayesClusters(0), ": 0 given; at least 2"),
    "an optimum without noise": (lambda t: ExactGP(noise=-1.0), "noise: -1"),
    "more ways than classes": (lambda t: FewShot(*images(), way=5, queries=1), "way: 5 given; .*3 classes"),
    "too few examples for the shots": (lambda t: FewShot(*images(), way=3, shots=4, queries=1), "shots.*4"),
    "images and labels of other lengths": (
        lambda t: FewShot(images()[0], torch.zeros(5).long(), way=2),
        "shapes .* needed",
    ),
    "labels that are not whole": (
        lambda t: FewShot(images()[0], torch.rand(12), way=2),
        "y: torch.float32 given; .*int64",
    ),
    "a class without examples": (
        lambda t: FewShot(images()[0], 2 * images()[1], way=2),
        "y: .*class 1",
    ),
    "a task that is not there": (lambda t: episode().task(7), "i: task 7 does not exist"),
    "an unknown system": (
        lambda t: build("protypical", Clusters()),
        "system: 'protypical' given; .*did you mean prototypical",
    ),
    "an unknown option of a system": (
        lambda t: build("maml", Clusters(), inner_rate=1),
        "inner_rate: not an option of maml; it has inner_lr",
    ),
    "a system for other targets": (
        lambda t: build("prototypical", Sinusoids()),
        "system: prototypical does classification",
    ),
    "unknown tasks": (lambda t: make_tasks("glyph"), "tasks: 'glyph' given; .*did you mean glyphs"),
    "an unknown part": (
        lambda t: make_tasks("clusters", part="dev"),
        "part: 'dev' given; allowed are train, validation, test",
    ),
    "an unknown option of the tasks": (
        lambda t: make_tasks("clusters", ways=3),
        "ways: not an option of clusters; it has .*way",
    ),
}


@pytest.mark.parametrize("kind", LIBRARY)
def test_the_library_says_in_one_line_what_is_wrong(kind, tmp_path):
    act, message = LIBRARY[kind]
    with pytest.raises((ValueError, TypeError, OSError, FloatingPointError, IndexError), match=message) as caught:
        act(tmp_path)
    assert str(caught.value) and "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())
