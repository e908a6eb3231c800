"""Figures say what they show: labelled axes, numbers with intervals, one panel an image."""

import matplotlib
import pytest
import torch

from metabook import plots
from metabook.episode import Episode, Examples
from metabook.evaluation import Score
from metabook.training import History

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_show_images_puts_each_class_in_its_row():
    """Class c has images of brightness (c + 1) / 10, so each panel's mean tells the class it was drawn from."""
    y = torch.tensor([[2, 0, 1]])
    x = ((y + 1) / 10)[..., None, None, None].expand(1, 3, 1, 8, 8)
    figure = plots.show_images(Episode(Examples(x, y), Examples(x, y)), queries=1)
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(drawn) == 6
    means = [float(axis.images[0].get_array().mean()) for axis in drawn]
    assert means == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])


def test_show_grid_puts_each_image_in_its_place_and_one_column_on_a_scale_of_its_own():
    """Column c and row r hold the value c + r / 10 at every pixel; the marked column ends at its largest, 0.2."""
    columns = {str(c): torch.stack([torch.full((1, 4, 5), (c + r) / 10) for r in range(2)]) for c in range(2)}
    figure = plots.show_grid(columns, ["top", "bottom"], mark="1")
    axes = [axis for axis in figure.axes if axis.images]
    assert [round(float(axis.images[0].get_array().mean()), 6) for axis in axes] == [0.0, 0.1, 0.1, 0.2]
    assert [round(axis.images[0].get_clim()[1], 6) for axis in axes] == [1.0, 0.2, 1.0, 0.2]
    assert [axis.get_title() for axis in axes[:2]] == ["0", "1"] and axes[2].get_ylabel() == "bottom"
    hidden = plots.show_grid({"a": torch.full((1, 1, 2, 2), torch.nan)}, ["one"])
    assert hidden.axes[0].images[0].get_array().mask.all()


def test_show_history_draws_loss_and_validation():
    history = History([1.0 / (i + 1) for i in range(100)], [{"step": 50, "mse": 0.3, "nll": 1.0}], 50, 1.0)
    axis = plots.show_history(history, smooth=10)
    assert axis.get_xlabel() == "meta-training step" and axis.get_ylabel() == "meta-loss"
    assert len(axis.lines[0].get_xdata()) == 91
    assert axis.lines[0].get_ydata()[0] == pytest.approx(sum(1 / (i + 1) for i in range(10)) / 10)
    assert any(a.get_ylabel() == "validation mse" for a in axis.figure.axes)


def test_show_scores_prints_mean_interval_and_n():
    axis = plots.show_scores(
        {"a": Score(torch.tensor([0.0, 1.0])), "b": Score(torch.tensor([1.0, 1.0]))}, label="accuracy"
    )
    assert [t.get_text() for t in axis.texts] == ["0.500 ± 0.980", "1.000 ± 0.000"]
    assert axis.get_xlabel() == "accuracy, 95 % interval over 2 tasks"


def test_show_functions_labels_every_curve():
    x = torch.linspace(-1, 1, 5)
    axis = plots.show_functions(plt.subplots()[1], x, {"true": x, "learned": x**2}, (x[:2], x[:2]))
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["true", "learned", "support"]


def test_the_style_does_not_leak_when_asked_not_to():
    with plt.rc_context():
        plots.use_style()
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == plots.COLOURS
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] != plots.COLOURS
