"""Hundreds of inputs that nobody sane would give: an answer of the right form, or an error that is documented."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.exceptions import NotFittedError

from metabook.calibration import LEVELS, Calibration
from metabook.cli import main
from metabook.estimator import FewShotClassifier
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import MLP, Conv4, Pixels
from metabook.optimization import MAML

DOCUMENTED = (ValueError, TypeError, FileNotFoundError, FloatingPointError)
INPUTS = 600


def learners():
    """Each with the shape of an example that it takes."""
    torch.manual_seed(0)
    three = Classification(3)
    return [
        (None, (4,)),
        (ProtoNet(Pixels(), three), (4,)),
        (ProtoNet(MLP(4, 5, hidden=(6,)), three), (4,)),
        (MAML(MLP(4, 3, hidden=(6,)), three), (4,)),
        (ProtoNet(Conv4(1, width=4, size=8, blocks=2, norm="batch"), three), (1, 8, 8)),
        (ProtoNet(Conv4(1, width=4, size=8, blocks=2, norm="none"), three), (1, 8, 8)),
        ("glyphs", (1, 28, 28)),
    ]


def random_x(rng, n):
    shape = rng.choice(
        [(n, 4), (n, 4), (n, 1), (n, 0), (n,), (), (n, 1, 8, 8), (n, 1, 8, 8), (n, 8, 8), (n, 1, 28, 28), (n, 28, 28),
         (n, 28, 28, 1), (n, 28, 28, 3), (n, 1, 9, 7), (n, 2, 2, 2, 2), (0, 4)]
    )  # fmt: skip
    values = np.random.default_rng(rng.randrange(2**31)).random(shape)
    change = rng.randrange(16)
    if change == 0 and values.size:
        values.flat[rng.randrange(values.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e300, -1.0, 7.0])
    elif change == 1:
        return torch.tensor(values, dtype=rng.choice([torch.float16, torch.bfloat16, torch.float32, torch.int64]))
    elif change == 2:
        return (values * 255).astype(
            rng.choice([np.uint8, np.int16, np.uint16, bool, np.float16, object, "U8", complex])
        )
    elif change == 3:
        return values.tolist()
    elif change == 4:
        return [np.zeros(rng.randrange(4)) for _ in range(n)]
    elif change == 5:
        return rng.choice(
            [None, "a.png", ["a.png"] * n, [Path("a.png"), 1], {}, {1: 2}, object(), 3, iter([1]), [None] * n]
        )
    return values


def random_y(rng, n):
    kind = rng.randrange(12)
    if kind == 0:
        return rng.choice([None, 3, "a", [], [[]], {}, [None] * n, [[0, 1]] * n, [1.5] * n, [np.nan] * n, [b"a"] * n])
    if kind == 1:
        return [rng.choice(["a", 1, 2.5, None, True]) for _ in range(n)]
    if kind == 2:
        return [rng.choice("ab") for _ in range(n + rng.choice([-1, 1]))]
    if kind == 3:
        return np.array([rng.choice(["x", "y", "none"]) for _ in range(n)], dtype=object)
    if kind == 4:
        return torch.tensor([rng.randrange(3) for _ in range(n)])
    if kind == 5:
        return [bool(rng.randrange(2)) for _ in range(n)]
    labels = rng.choice([["a", "b", "c"], [0, 1, 2], [-1, 5], [3.0, 4.0], ["é", ""], ["none", "b"], ["one"]])
    return [rng.choice(labels) for _ in range(n)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_whatever_is_given_there_is_an_answer_or_a_documented_error():
    rng, known, answers, errors = random.Random(0), learners(), 0, []
    stair = Calibration(1.5, tuple(np.linspace(-9, -1, len(LEVELS)).tolist()))
    for case in range(INPUTS):
        n, wild = rng.randrange(3, 8), [rng.random() < 0.3 for _ in range(4)]  # what is given at random
        learner, shape = rng.choice(known)
        classifier = FewShotClassifier(rng.choice(["no such name", 42, "", MAML, known[2][0]]) if wild[0] else learner)
        if wild[1]:
            classifier.set_params(
                reject=rng.choice([None, 0.05, 0.5, 2, "x"]),
                none_label=rng.choice([None, None, None, "other", 9, 2.5, [], True]),
                calibration=rng.choice([None, stair, stair, stair, 7]),
            )
        X = random_x(rng, n) if wild[2] else np.random.default_rng(case).random((n, *shape))
        y = random_y(rng, n) if wild[3] else (["b", "a", "c"] * n)[:n]
        try:
            classifier.fit(X, y)
            Q = X if rng.randrange(3) else random_x(rng, rng.randrange(1, 4))
            probs, said = classifier.predict_proba(Q), classifier.predict(Q)
        except DOCUMENTED as error:
            errors.append(error)
            continue
        answers += 1
        assert probs.shape == (len(said), len(classifier.classes_)) and len(said) == len(Q), case
        assert np.isfinite(probs).all() and np.allclose(probs.sum(1), 1), case
        none = {"none", -1, classifier.none_label} if classifier.reject else set()
        assert set(said.tolist()) <= set(classifier.classes_.tolist()) | none, case
    assert all(str(error) and not isinstance(error, NotFittedError) for error in errors)
    assert answers > 50 and len(errors) > 200  # both happen


NAMES = ["a.png", "b.PNG", "c.jpg", ".hidden.png", "text.txt", "no_suffix", "ü 日.png", "d.gif", "e.tiff"]
MODES = ["L", "RGB", "RGBA", "P", "1", "LA", "I", "F", "CMYK"]


def random_image(rng, path):
    content = rng.randrange(40)
    if content == 0:
        path.write_bytes(rng.randbytes(rng.randrange(50)))
        return
    if content == 1:
        path.mkdir()
        return
    mode, size = rng.choice(MODES), (rng.randrange(1, 60), rng.randrange(1, 60))
    values = np.random.default_rng(rng.randrange(2**31)).integers(0, 256, (size[1], size[0])).astype(np.uint8)
    image = Image.fromarray(values if rng.randrange(3) else values * 0).convert(mode)
    known = {".png": "PNG", ".jpg": "JPEG", ".gif": "GIF", ".tiff": "TIFF"}.get(path.suffix.lower(), "PNG")
    try:
        image.save(path, known)
    except OSError:  # a mode that the format does not have
        image.convert("L").save(path, known)
    if content == 2:
        path.write_bytes(path.read_bytes()[: rng.randrange(1, 80)])


def test_any_folder_gives_predict_an_answer_or_one_line(tmp_path, capsys):
    rng, statuses = random.Random(0), []
    for case in range(40):
        support = tmp_path / str(case) / "support"
        support.mkdir(parents=True)
        for name in rng.sample(["cat", "dog", ".git", "ü", "leer"], rng.choice([0, 1, 2, 3, 3, 4, 4])):
            (support / name).mkdir()
            for file in rng.sample(NAMES, rng.choice([0, 1, 2, 2, 3, 3, 3])):
                random_image(rng, support / name / file)
        query = tmp_path / str(case) / rng.choice(["q.png", "q.jpg", "q.gif", "none.png"])
        if query.name != "none.png":
            random_image(rng, query)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = main(["predict", "glyphs", "--support", str(support), "--query", str(query), "--device", "cpu"])
        out, err = capsys.readouterr()
        statuses.append(status)
        if status == 0:
            assert err == "" and len(out.splitlines()) >= 3, case
        else:
            assert status == 2 and out == "" and err.startswith("metabook: error: ") and err.count("\n") == 1, case
    assert {0, 2} == set(statuses)
