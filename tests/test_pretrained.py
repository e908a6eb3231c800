"""The checkpoints that ship: whole, small, described, and as good as their cards say."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import metabook
from metabook import pretrain, pretrained
from metabook.cli import main
from metabook.data.framing import BOX
from metabook.estimator import FewShotClassifier
from metabook.ready import describe

LARGEST = 1_000_000  # bytes


@pytest.mark.parametrize("name", pretrained.names())
def test_a_card_tells_where_the_weights_come_from(name):
    card = pretrained.card(name)
    for key in ("title", "system", "tasks", "command", "seed", "torch", "date", "licence", "calibration", "scores"):
        assert card[key] or card[key] == 0, key
    assert card["command"] == f"python -m metabook.pretrain {name}"
    settings = json.loads(json.dumps(pretrain.RECIPES[name].settings()))
    assert {key: card["settings"][key] for key in settings} == settings  # made by the recipe that is there now
    assert card["settings"]["transductive"] is False
    size = (pretrained.FOLDER / f"{name}.safetensors").stat().st_size
    assert size == card["bytes"] < LARGEST


@pytest.mark.parametrize("name", pretrained.names())
@pytest.mark.parametrize("way", [2, 5, 30])
def test_it_loads_for_any_number_of_classes(name, way):
    learner = pretrained.load(name, way=way)
    assert learner.likelihood.size == way and not learner.training and not learner.transductive
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in learner.parameters())


def test_it_is_as_good_as_its_card_says():
    """60 new tasks against the recorded mean: within four standard errors of the difference."""
    tasks = metabook.make_tasks("glyphs", part="test")
    score = metabook.evaluate(pretrained.load("glyphs"), tasks, episodes=60, batch=20, seed=77)["accuracy"]
    recorded = pretrained.card("glyphs")["scores"]["accuracy, 5-way 1-shot"]
    assert abs(score.mean - recorded["mean"]) < 2 * (score.interval**2 + recorded["interval"] ** 2) ** 0.5
    assert recorded["mean"] > 0.9


def test_its_calibration_is_worth_something_on_other_scripts():
    checks = pretrained.card("glyphs")["checks"]
    for label, check in checks.items():
        assert check["unknown refused"]["mean"] > check["known refused"]["mean"] + 0.1, label
    few = checks["glyphs, 5-way 1-shot"]
    assert few["known refused"]["mean"] == pytest.approx(pretrain.REJECT, abs=0.05)


def test_describe_has_what_the_card_says():
    ready, card = describe("glyphs"), pretrained.card("glyphs")
    assert ready.fill == BOX and ready.x_shape == tuple(card["x_shape"]) == (1, 28, 28)
    assert ready.calibration.temperature == card["calibration"]["temperature"]
    assert list(ready.calibration.thresholds) == card["calibration"]["thresholds"]


def test_letters_by_name():
    tasks = metabook.make_tasks("glyphs", part="test", way=4, shots=3, queries=10)
    support, query = tasks.sample(1, torch.Generator().manual_seed(0))
    names = np.array(["alpha", "beta", "gamma", "delta"])
    classifier = FewShotClassifier("glyphs", reject=0.05).fit(support.x[0], names[support.y[0]])
    said = classifier.predict(query.x[0])
    assert np.mean(said == names[query.y[0]]) > 0.75 and set(said) <= {*names, "none"}
    noise = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert np.mean(classifier.predict(noise) == "none") > 0.9


@pytest.mark.parametrize("name", ["glyfs", "", "GLYPHS "])
def test_an_unknown_name(name):
    with pytest.raises(ValueError, match=r"^pretrained: .* given; known are glyphs"):
        pretrained.load(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the checkpoints that may be spoilt."""
    for file in pretrained.FOLDER.glob("glyphs.*"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    return tmp_path


def spoil_end(content):
    return content[:-1]


def spoil_header(content):
    return b"\xff" * 8 + content[8:]


def spoil_weight(content):
    return content[:-100] + bytes(100)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(spoil_end, "is damaged"), (spoil_header, "is damaged"), (spoil_weight, "not the file that its card describes")],
)
def test_a_damaged_file_is_seen(folder, spoil, says):
    file = folder / "glyphs.safetensors"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ValueError, match=f"^pretrained: .*{says}.*install the package again") as error:
        pretrained.load("glyphs")
    assert "\n" not in str(error.value)


def test_files_that_are_gone_or_foreign(folder):
    card = json.loads((folder / "glyphs.json").read_text("utf-8"))
    card["settings"]["options"]["width"] = 32
    (folder / "glyphs.json").write_text(json.dumps(card), "utf-8")
    with pytest.raises(ValueError, match="does not fit"):
        pretrained.load("glyphs")
    (folder / "glyphs.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no weights at"):
        pretrained.load("glyphs")
    (folder / "glyphs.json").write_text("{", "utf-8")
    with pytest.raises(ValueError, match="cannot be read"):
        pretrained.load("glyphs")


def test_predict_takes_the_name(tmp_path, capsys):
    """The command and the estimator say the same of the same files."""
    from PIL import Image, ImageDraw

    for i, (kind, box) in enumerate([("tall", [40, 5, 60, 95]), ("flat", [5, 40, 95, 60])] * 2):
        image = Image.new("L", (100, 100), 255)
        ImageDraw.Draw(image).ellipse([box[0], box[1], box[2] + i, box[3]], outline=0, width=5)
        (tmp_path / "support" / kind).mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "support" / kind / f"{i}.png")
    query = tmp_path / "support" / "flat" / "1.png"
    arguments = ["--support", str(tmp_path / "support"), "--query", str(query), "--json", "--device", "cpu"]
    assert main(["predict", "glyphs", *arguments]) == 0
    answer = json.loads(capsys.readouterr().out)["predictions"][0]
    files = sorted((tmp_path / "support").rglob("*.png"))
    classifier = FewShotClassifier("glyphs").fit(files, [file.parent.name for file in files])
    probabilities = dict(zip(classifier.classes_.tolist(), classifier.predict_proba([query])[0], strict=True))
    assert answer["label"] == "flat" and answer["probabilities"] == pytest.approx(probabilities)
    assert main(["predict", "glyphs", *arguments, "--set", "width=3"]) == 2
    assert "--set: width=3 given" in capsys.readouterr().err


def test_the_recipe_can_be_carried_out(tmp_path, monkeypatch):
    """One step, with tasks of glyphs in place of Omniglot: weights that load, and a card that describes them."""
    short = pretrain.RECIPES["glyphs"]._replace(
        training=({"steps": 1, "batch": 1},),
        options={"width": 8, "norm": "group"},
        tests=(short_test := pretrain.RECIPES["glyphs"].tests[0]._replace(episodes=2),),
    )
    monkeypatch.setitem(pretrain.RECIPES, "glyphs", short)
    monkeypatch.setattr(pretrain, "make_tasks", lambda name, **o: metabook.make_tasks("glyphs", **_of_glyphs(o)))
    monkeypatch.setattr(pretrain, "CHECKED", ({"way": 3, "shots": 1},))
    monkeypatch.setattr(pretrain, "evaluate", lambda *a, **k: metabook.evaluate(*a, **{**k, "episodes": 2}))
    monkeypatch.setattr(pretrain, "calibrate", lambda *a, **k: _calibrate(*a, **{**k, "episodes": 2}))
    card = pretrain.pretrain("glyphs", to=tmp_path, folder=tmp_path / "runs")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert pretrained.load("glyphs", way=4).likelihood.size == 4
    assert card["scores"][short_test.label]["n"] == 2 and pretrained.card("glyphs") == json.loads(json.dumps(card))


_calibrate = pretrain.calibrate


def _of_glyphs(options):
    return {key: value for key, value in options.items() if key not in pretrain.OMNIGLOT}


def test_a_name_without_recipe(capsys):
    assert pretrain.main(["none"]) == 2
    assert "pretrained: 'none' given; known are glyphs" in capsys.readouterr().err
