"""The reader's own images to labels: the command, and what it promises about its answers."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image, ImageDraw

from metabook.classify import classify
from metabook.cli import main
from metabook.data.framing import BOX, LARGE_BOX
from metabook.likelihood import Classification
from metabook.metric import ProtoNet
from metabook.nn import Conv4
from metabook.ready import Ready, _fill


def draw(path, kind, *, size=(60, 60), mode="L", paper=255, ink=0, shift=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, paper)
    pen, (w, h) = ImageDraw.Draw(image), size
    box = [w // 5 + shift, h // 5, 4 * w // 5 + shift, 4 * h // 5]
    width = max(2, min(size) // 12)
    if kind == "circle":
        pen.ellipse(box, outline=ink, width=width)
    elif kind == "cross":
        pen.line(box, fill=ink, width=width)
        pen.line([box[2], box[1], box[0], box[3]], fill=ink, width=width)
    elif kind == "bar":
        pen.line([w // 2 + shift, box[1], w // 2 + shift, box[3]], fill=ink, width=width)
    image.save(path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes, two examples each; queries of other sizes, colours and positions beside them."""
    folder = tmp_path_factory.mktemp("images")
    for kind in ("bar", "circle", "cross"):
        for i in range(2):
            draw(folder / "support" / kind / f"{i}.png", kind, shift=i)
    draw(folder / "query" / "a.png", "cross", size=(90, 90))
    draw(folder / "query" / "b.jpg", "circle", mode="RGB", paper=(20, 20, 40), ink=(250, 240, 230))
    draw(folder / "query" / "c.png", "bar", size=(33, 33))
    return folder


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """A prototypical network trained for two steps on the support images themselves, two ways."""
    folder = tmp_path_factory.mktemp("runs") / "proto"
    tasks = ["--tasks", f"folder:{images / 'support'}", "--way", "2", "--queries", "1", "--set", "all_classes=true"]
    options = ["--steps", "2", "--batch", "2", "--set", "width=8", "--device", "cpu", "--validate-every", "2"]
    assert main(["train", "prototypical", *tasks, *options, "--out", str(folder)]) == 0
    return folder


def ask(capsys, run, images, *queries):
    capsys.readouterr()
    files = [str(images / "query" / q) for q in queries]
    assert main(["predict", str(run), "--support", str(images / "support"), "--json", "--query", *files]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_file_gets_a_label_and_probabilities_that_sum_to_one(run, images, capsys):
    answer = ask(capsys, run, images, "a.png", "b.jpg", "c.png")
    assert answer["classes"] == ["bar", "circle", "cross"]  # three classes; the run was trained on two
    for p in answer["predictions"]:
        probabilities = p["probabilities"]
        assert set(probabilities) == set(answer["classes"])
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert max(probabilities, key=probabilities.get) == p["label"] and probabilities[p["label"]] == p["probability"]
    assert [p["label"] for p in answer["predictions"]] == ["cross", "circle", "bar"]


def test_an_answer_does_not_depend_on_the_other_files(run, images, capsys):
    together = ask(capsys, run, images, "a.png", "b.jpg", "c.png")["predictions"]
    alone = [ask(capsys, run, images, name)["predictions"][0] for name in ("a.png", "b.jpg", "c.png")]
    for one, other in zip(together, alone, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_folder_of_queries_is_every_image_in_it(run, images, capsys):
    files = [p["file"] for p in ask(capsys, run, images, "")["predictions"]]
    assert files == [str(images / "query" / name) for name in ("a.png", "b.jpg", "c.png")]


def test_the_table_shows_label_probability_and_second_choice(run, images, capsys):
    capsys.readouterr()
    query = str(images / "query" / "a.png")
    assert main(["predict", str(run), "--support", str(images / "support"), "--query", query]) == 0
    head, rule, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "label", "probability", "second", "choice"] and set(rule) == {"-", " "}
    file, label, probability, second, other = line.split()
    assert (file, label) == (query, "cross") and second in ("bar", "circle")
    assert 1 >= float(probability) >= float(other) >= 0


def test_classify_equals_the_definition_for_one_query():
    # A network without batch statistics: softmax of minus squared distances to the class means, by hand.
    torch.manual_seed(0)
    net = Conv4(1, width=4, size=16, norm="none").double()
    images = torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8)
    labels = torch.tensor([1, 0, 1, 1])  # unequal numbers of examples
    query = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    probs = classify(ProtoNet(net, Classification(2)), images, labels, query)
    z = net(images.double()[None] / 255)[0]
    centres = torch.stack([z[1], (z[0] + z[2] + z[3]) / 3])
    for q, p in zip(query, probs, strict=True):
        distance = (net(q.double()[None, None] / 255)[0, 0] - centres).square().sum(1)
        torch.testing.assert_close(p, (-distance).softmax(0).detach())


def test_a_fixed_head_says_how_many_classes_it_needs(images, tmp_path, capsys):
    folder = tmp_path / "maml"
    options = ["--steps", "1", "--batch", "1", "--set", "width=8", "--device", "cpu"]
    tasks = ["--tasks", f"folder:{images / 'support'}", "--way", "2", "--queries", "1", "--set", "all_classes=true"]
    assert main(["train", "maml", *tasks, *options, "--out", str(folder)]) == 0
    capsys.readouterr()
    query = str(images / "query" / "a.png")
    assert main(["predict", str(folder), "--support", str(images / "support"), "--query", query]) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith("metabook: error: way: 3 classes given") and "trained on 2" in error and error.count("\n") == 1
    )


def test_size_and_place_on_the_paper_do_not_matter_to_a_learner_of_letters(images, tmp_path, capsys):
    run = tmp_path / "letters"
    options = ["--steps", "1", "--batch", "1", "--queries", "1", "--set", "width=8", "--device", "cpu"]
    assert main(["train", "prototypical", "--tasks", "glyphs", *options, "--out", str(run)]) == 0
    letter = Image.open(draw(tmp_path / "letter.png", "cross", size=(100, 100)))
    paper = Image.new("L", (300, 300), 255)
    paper.paste(letter.crop((10, 10, 90, 90)), (15, 190))
    paper.save(tmp_path / "corner.png")
    capsys.readouterr()
    files = [str(tmp_path / "letter.png"), str(tmp_path / "corner.png")]
    assert main(["predict", str(run), "--support", str(images / "support"), "--json", "--query", *files]) == 0
    one, other = json.loads(capsys.readouterr().out)["predictions"]
    assert one["probabilities"] == pytest.approx(other["probabilities"], abs=0.05)


def test_a_drawing_fills_what_the_letters_of_training_filled(tmp_path):
    """Printed letters and Omniglot fill 20/28 of a side, framed Omniglot 24/28; other images stay as they are."""
    path = draw(tmp_path / "a.png", "bar", size=(224, 224))
    heights = {}
    for tasks, task_options in (("glyphs", {}), ("omniglot", {}), ("omniglot", {"framed": True}), ("folder", {})):
        fill = _fill(tasks, task_options)
        image = Ready((1, 56, 56), fill).read([path])[0, 0]
        heights[tasks, fill] = int((image.amax(1) > 127).sum())
    assert heights["glyphs", BOX] == heights["omniglot", BOX] == 40
    assert heights["omniglot", LARGE_BOX] == 48 and heights["folder", None] == 34
