"""FewShotClassifier: what it promises about labels, inputs, learners and its answers."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import metabook
from metabook.calibration import LEVELS, Calibration
from metabook.cli import main
from metabook.estimator import FewShotClassifier
from metabook.likelihood import Classification, Regression
from metabook.metric import ProtoNet
from metabook.nn import MLP, Conv4, Pixels
from metabook.optimization import MAML

IMAGES = torch.rand(9, 1, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = ["b", "a", "b", "c", "a", "b"]  # unequal shots


def proto(way=5, norm="group", **options):
    torch.manual_seed(0)
    return ProtoNet(Conv4(1, width=8, size=16, norm=norm, **options), Classification(way))


def stair(low, high):
    """Thresholds from ``low`` to ``high``: 1 % of the known lie below ``low``, half below ``high``."""
    return Calibration(1.0, tuple(np.linspace(low, high, len(LEVELS)).tolist()))


def test_by_hand_without_a_learner():
    """One feature: 0 and 2 are "low", 10 is "high". Mean 4, squares 16 + 4 + 36 = 56, variance 56/3. The class means
    1 and 10, so 5 is nearer to "low" by squared distances 16 and 25, less by 9 / (56/3) = 27/56 in standard units."""
    classifier = FewShotClassifier().fit([[0.0], [2.0], [10.0]], ["low", "low", "high"])
    assert classifier.classes_.tolist() == ["high", "low"] and classifier.shots_.tolist() == [1, 2]
    log_p = classifier.predict_log_proba([[5.0]])[0]
    assert log_p[1] - log_p[0] == pytest.approx(27 / 56)
    assert classifier.predict([[5.0], [5.6]]).tolist() == ["low", "high"]  # the means' middle is 5.5


def test_a_constant_feature_does_no_harm():
    classifier = FewShotClassifier().fit([[1e9, 0.1], [1e9, 0.2]], [0, 1])
    assert classifier.predict([[1e9, 0.1], [1e9, 0.2]]).tolist() == [0, 1]


def test_it_says_what_the_learner_says():
    classifier = FewShotClassifier(proto()).fit(IMAGES[:6], LABELS)
    net = classifier.learner_.net
    z = net(IMAGES[None])[0].detach()
    centres = torch.stack([z[[i for i, label in enumerate(LABELS) if label == name]].mean(0) for name in "abc"])
    wanted = (-(z[6:, None] - centres).square().sum(2)).softmax(1)
    np.testing.assert_allclose(classifier.predict_proba(IMAGES[6:]), wanted.numpy(), atol=1e-6)
    assert classifier.predict(IMAGES[6:]).tolist() == ["abc"[k] for k in wanted.argmax(1)]
    assert classifier.score(IMAGES[:6], LABELS) == np.mean(classifier.predict(IMAGES[:6]) == LABELS)


@pytest.mark.parametrize(
    "y",
    [
        ["b", "a", "b", "c", "a", "b"],
        [7, -3, 7, 2, -3, 7],
        np.array([1.0, 0.0, 1.0, 2.0, 0.0, 1.0]),
        np.array(["ü", "日", "ü", "", "日", "ü"], dtype=object),
        torch.tensor([5, 4, 5, 9, 4, 5]),
        np.array([2, 1, 2, 200, 1, 2], dtype=np.uint8),
    ],
    ids=["strings", "numbers", "floats", "objects", "tensor", "bytes"],
)
def test_any_labels(y):
    classifier = FewShotClassifier(proto()).fit(IMAGES[:6], y)
    assert classifier.classes_.tolist() == np.unique(np.asarray(y)).tolist()
    assert classifier.shots_.tolist() == np.unique(np.asarray(y), return_counts=True)[1].tolist()
    said = classifier.predict(IMAGES)
    assert said.dtype == classifier.classes_.dtype and set(said.tolist()) <= set(classifier.classes_.tolist())
    other = FewShotClassifier(proto()).fit(IMAGES[:6], LABELS)
    order = [classifier.classes_.tolist().index(np.asarray(y)[LABELS.index(name)]) for name in "abc"]
    np.testing.assert_allclose(classifier.predict_proba(IMAGES)[:, order], other.predict_proba(IMAGES), atol=1e-6)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_each_query_is_judged_by_itself(norm):
    classifier = FewShotClassifier(proto(norm=norm)).fit(IMAGES[:6], LABELS)
    together = classifier.predict_proba(IMAGES)
    alone = np.concatenate([classifier.predict_proba(IMAGES[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(IMAGES.flip(0)), together[::-1], atol=1e-5)


def test_the_learner_given_is_left_alone():
    learner = proto(way=5)
    before, mode = copy.deepcopy(learner.state_dict()), learner.training
    classifier = FewShotClassifier(learner).fit(IMAGES[:6], LABELS)
    first = classifier.predict_proba(IMAGES)
    assert learner.likelihood.size == 5 and learner.training is mode and classifier.learner is learner
    for name, value in learner.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():
        next(learner.parameters()).zero_()  # trained on later: the fitted classifier does not notice
    np.testing.assert_array_equal(classifier.predict_proba(IMAGES), first)


@pytest.mark.parametrize("learner", [proto(), proto(norm="batch"), None], ids=["group", "batch", "none"])
def test_clones_copies_and_pickles(learner):
    X = IMAGES if learner is not None else IMAGES.flatten(1)
    classifier = FewShotClassifier(learner).fit(X[:6], LABELS)
    said = classifier.predict_proba(X)
    for other in (
        copy.deepcopy(classifier),
        pickle.loads(pickle.dumps(classifier)),
        clone(classifier).fit(X[:6], LABELS),
    ):
        np.testing.assert_array_equal(other.predict_proba(X), said)
    with pytest.raises(NotFittedError):
        clone(classifier).predict(X)


def test_the_layouts_of_images(tmp_path):
    run = trained_run(tmp_path)
    whole = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    classifier = FewShotClassifier(run).fit(whole, LABELS)
    said = classifier.predict_proba(whole)
    for X in (whole[:, 0], whole[:, 0, :, :, None], whole.numpy(), whole.double(), whole.tolist()):
        np.testing.assert_allclose(classifier.predict_proba(X), said, atol=1e-6)
    as_bytes = (whole * 255).round().to(torch.uint8)
    np.testing.assert_array_equal(classifier.predict_proba(as_bytes), classifier.predict_proba(as_bytes / 255))
    for X, says in (
        (whole[:, :, :20, :20], r"shape \[1, 20, 20\] given; the learner was trained on \[1, 28, 28\]"),
        (whole.repeat(1, 3, 1, 1), r"shape \[3, 28, 28\]"),
        (whole * 255, "values from .* images are floats from 0"),
        (whole - 0.5, "values from -0"),
        (whole.flatten(1), r"shape \[784\]"),
        (whole * torch.nan, "NaN"),
        (whole[:0], "at least one example"),
    ):
        with pytest.raises(ValueError, match=f"^X: .*{says}"):
            classifier.predict(X)
    with pytest.raises(TypeError, match=r"^X: int64 given; uint8"):
        classifier.predict((whole * 255).long())


def trained_run(path, system="prototypical"):
    options = ["--tasks", "glyphs", "--steps", "1", "--batch", "1", "--queries", "1", "--set", "width=8"]
    assert main(["train", system, *options, "--device", "cpu", "--out", str(path / system)]) == 0
    return path / system


def draw(path, kind, *, size=(60, 60), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, 255)
    w, h = size
    box, pen = [w // 5, h // 5, 4 * w // 5, 4 * h // 5], ImageDraw.Draw(image)
    if kind == "circle":
        pen.ellipse(box, outline=0, width=max(2, w // 12))
    else:
        pen.line(box, fill=0, width=max(2, w // 12))
    image.convert(mode).save(path)
    return path


def test_files_of_several_sizes_and_modes(tmp_path):
    modes = ["L", "RGB", "1", "RGBA", "P", "LA", "I;16"]
    files = [
        draw(tmp_path / f"{kind}{i}.png", kind, size=(40 + 9 * i, 70 - 5 * i), mode=mode)
        for kind in ("circle", "line")
        for i, mode in enumerate(modes)
    ]
    labels = [path.name.rstrip("0123456789.png") or "line" for path in files]
    classifier = FewShotClassifier("glyphs").fit(files, labels)
    assert classifier.score([str(path) for path in files], labels) == 1
    assert classifier.predict(np.array([str(path) for path in files])).tolist() == labels
    with pytest.raises(TypeError, match=r"^X: one path"):
        classifier.predict(str(files[0]))
    with pytest.raises(TypeError, match=r"^X: paths and other things mixed"):
        classifier.predict([files[0], 3])
    with pytest.raises(FileNotFoundError, match="no such file"):
        classifier.predict([tmp_path / "none.png"])
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match=r"text.png: no readable image"):
        classifier.predict([tmp_path / "text.png"])


def test_files_need_a_learner_that_knows_their_size(tmp_path):
    file = draw(tmp_path / "a.png", "circle")
    for learner, says in ((None, "learner: None given"), (proto(), "image files need one trained on grey images")):
        with pytest.raises(ValueError, match=says):
            FewShotClassifier(learner).fit([file, file], [0, 1])


def test_a_fixed_last_layer_takes_its_own_number_of_classes_alone(tmp_path):
    torch.manual_seed(0)
    maml = MAML(Conv4(1, 3, width=4, size=16, norm="none"), Classification(3), inner_lr=0.1)
    classifier = FewShotClassifier(maml).fit(IMAGES[:6], LABELS)
    assert classifier.predict_proba(IMAGES).shape == (9, 3)
    for y, way in (([0, 1, 1, 0, 1, 0], 2), ([0, 1, 2, 3, 0, 1], 4)):
        with pytest.raises(ValueError, match=rf"^way: {way} classes given; this MAML was trained on 3") as error:
            FewShotClassifier(maml).fit(IMAGES[:6], y)
        assert "\n" not in str(error.value)
    run = trained_run(tmp_path, "maml")
    with pytest.raises(ValueError, match=r"^way: 3 classes given; this maml was trained on 5"):
        FewShotClassifier(run).fit(torch.rand(6, 28, 28), LABELS)


VECTORS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("system", [name for name, s in metabook.SYSTEMS.items() if Classification in s.kinds])
def test_every_system_learns_other_classes_or_says_that_it_cannot(system):
    tasks = SimpleNamespace(likelihood=Classification(5), x_shape=(4,))
    learner = metabook.build(system, tasks)
    said = ""
    try:
        classifier = FewShotClassifier(learner).fit(VECTORS, LABELS)
    except ValueError as error:
        said = str(error)
        classifier = FewShotClassifier(learner).fit(VECTORS, [0, 1, 2, 3, 4, 0])  # its own number
    assert re.match(r"$|way: 3 classes given; this \w+ was trained on 5 and its last layer is fixed", said)
    probs = classifier.predict_proba(VECTORS)
    assert probs.shape == (6, len(classifier.classes_)) and np.allclose(probs.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(classifier.predict_proba(VECTORS[2:3]), probs[2:3], atol=1e-5)


def test_examples_of_a_shape_that_the_network_cannot_take():
    for way in (3, 5):
        with pytest.raises(ValueError, match=r"^X: ProtoNet cannot take examples of shape \[2, 16, 16\]") as error:
            FewShotClassifier(proto(way)).fit(IMAGES[:6].repeat(1, 2, 1, 1), LABELS)
        assert "\n" not in str(error.value)
    classifier = FewShotClassifier(proto()).fit(IMAGES[:6], LABELS)
    with pytest.raises(ValueError, match=r"^X: examples of shape \[1, 20, 20\] given; the labelled ones had"):
        classifier.predict(torch.rand(2, 1, 20, 20))


@pytest.mark.parametrize(
    ("y", "error", "says"),
    [
        (["a"] * 6, ValueError, "y: 1 class given"),
        (["a", 1, "a", 1, "a", 1], ValueError, "y: strings and other labels mixed"),
        (["1", 1, "1", 1, "1", 1], ValueError, "y: strings and other labels mixed"),
        (np.array(["a", 1, "a", 1, "a", 1], dtype=object), ValueError, "y: strings and other labels mixed"),
        (None, ValueError, "y: None given"),
        (["a", "b"], ValueError, "inconsistent numbers of samples"),
        ([0.5, 0.1, 0.5, 0.3, 0.2, 0.9], ValueError, "Unknown label type"),
        ([0, 1, np.nan, 1, 0, 1], ValueError, "NaN"),
    ],
)
@pytest.mark.parametrize("learner", [None, proto()], ids=["vectors", "images"])
def test_labels_that_do_not_do(learner, y, error, says):
    X = IMAGES[:6] if learner is not None else IMAGES[:6].flatten(1)
    with pytest.raises(error, match=says):
        FewShotClassifier(learner).fit(X, y)


@pytest.mark.parametrize(
    ("learner", "error", "says"),
    [
        (3, TypeError, "learner: int given; needed is a MetaLearner"),
        ("glyfs", ValueError, "learner: 'glyfs' given; there is no such run folder, and pretrained are glyphs"),
        ("runs/none", FileNotFoundError, "run: no run.json in runs/none"),
        (ProtoNet, TypeError, "learner: ABCMeta given"),
        (MAML(MLP(256, 1), Regression()), ValueError, "a classifier is needed"),
    ],
)
def test_learners_that_are_none(learner, error, says):
    with pytest.raises(error, match=says):
        FewShotClassifier(learner).fit(IMAGES[:6], LABELS)


def test_refused_queries_get_the_label_for_none():
    """Nearest class means of one feature: closeness is -d^2 / (1 + 1/2). Means 0 and 10, so 1 has -2/3, 4 has -32/3."""
    X, y = [[-1.0], [1.0], [9.0], [11.0]], np.array(["a", "a", "b", "b"])
    learner = ProtoNet(Pixels(), Classification(2))
    classifier = FewShotClassifier(learner, reject=0.01, calibration=stair(-10, -5)).fit(X, y)
    np.testing.assert_allclose(classifier.closeness([[1.0], [4.0]]), [-2 / 3, -32 / 3])
    assert classifier.predict([[1.0], [4.0], [9.0], [100.0]]).tolist() == ["a", "none", "b", "none"]
    assert classifier.predict_proba([[4.0]]).shape == (1, 2)
    numbers = clone(classifier).fit(X, [3, 3, 8, 8])
    assert numbers.predict([[1.0], [4.0]]).tolist() == [3, -1] and numbers.predict([[1.0]]).dtype.kind == "i"
    small = clone(classifier).fit(X, np.array([3, 3, 8, 8], dtype=np.uint8))
    assert small.predict([[1.0], [4.0]]).tolist() == [3, -1]
    named = clone(classifier).set_params(none_label="something else").fit(X, y)
    assert named.predict([[1.0], [4.0]]).tolist() == ["a", "something else"]
    assert clone(classifier).set_params(reject=None).fit(X, y).predict([[4.0]]).tolist() == ["a"]


@pytest.mark.parametrize(
    ("none", "y", "says"),
    [
        (0, ["a", "b"], "none_label: 0 given for labels of type"),
        ("none", [0, 1], "none_label: 'none' given"),
        ("a", ["a", "b"], "that is one of the classes"),
        (None, ["none", "b"], "that is one of the classes"),
        (None, [-1, 1], "that is one of the classes"),
        (None, [True, False], "labels that are numbers or strings"),
    ],
)
def test_a_label_for_none_of_another_kind(none, y, says):
    classifier = FewShotClassifier(reject=0.05, none_label=none, calibration=stair(-2, -1))
    with pytest.raises(ValueError, match=says):
        classifier.fit([[0.0], [1.0]], y)
    classifier.set_params(reject=None).fit([[0.0], [1.0]], y)  # without reject it does not matter


def test_reject_needs_thresholds_and_a_share():
    for reject, error, says in (
        (0.05, ValueError, "no thresholds are known"),
        ("few", TypeError, "reject: 'few'"),
    ):
        calibration = None if reject == 0.05 else stair(-2, -1)
        with pytest.raises(error, match=says):
            FewShotClassifier(reject=reject, calibration=calibration).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="calibration: 3 given"):
        FewShotClassifier(calibration=3).fit([[0.0], [1.0]], [0, 1])


def test_temperature_changes_confidence_and_not_the_label():
    X, y = IMAGES[:6], LABELS
    one = FewShotClassifier(proto()).fit(X, y)
    two = FewShotClassifier(proto(), calibration=Calibration(2.0)).fit(X, y)
    odds = [np.diff(c.predict_log_proba(IMAGES), axis=1) for c in (one, two)]
    np.testing.assert_allclose(odds[0], 2 * odds[1], rtol=1e-4, atol=1e-6)
    assert one.predict(IMAGES).tolist() == two.predict(IMAGES).tolist()


def test_it_works_with_the_rest_of_scikit_learn():
    g = np.random.default_rng(0)
    X = np.concatenate([g.normal(size=(20, 3)), g.normal(size=(20, 3)) + 4])
    y = np.repeat(["left", "right"], 20)
    assert cross_val_score(make_pipeline(StandardScaler(), FewShotClassifier()), X, y, cv=4).mean() > 0.9
    assert cross_val_score(FewShotClassifier(proto()), IMAGES[:8].numpy(), [0, 1] * 4, cv=2).shape == (2,)


def test_importing_the_package_does_not_import_scikit_learn():
    code = "import sys, metabook; print([m for m in ('sklearn', 'safetensors') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
