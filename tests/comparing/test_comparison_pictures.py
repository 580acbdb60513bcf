"""Contents of the pictures of comparisons; each kind of comparison can be drawn without clipped text."""

import numpy as np
import pytest
from PIL import Image
from run_samples import BLOOD, class_probabilities, write_breast_runs, write_run
from sklearn.metrics import roc_auc_score, roc_curve

from keras_lnn.comparing import compare, load_runs
from keras_lnn.comparing.pictures import draw_all, plot_differences, plot_metrics, plot_roc_curves, roc_points
from keras_lnn.errors import InputError
from keras_lnn.plots import save_figure


def build(folder, count, seeds=1):
    strengths = {f"network-{index:02d}": 0.2 + 0.05 * index for index in range(count)}
    return compare(load_runs([write_breast_runs(folder, strengths, seeds)]))


@pytest.mark.parametrize("steps", [3, 10**6])
def test_corners_of_a_roc_curve_equal_those_of_scikit_learn(steps):
    generator = np.random.default_rng(0)
    positive, scores = generator.random(80) < 0.4, generator.integers(0, steps, 80) / 7
    false, true = roc_points(positive, scores)
    expected = roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(false, expected[0])
    np.testing.assert_allclose(true, expected[1])


@pytest.mark.parametrize(("count", "seeds"), [(1, 1), (2, 3), pytest.param(9, 1, marks=pytest.mark.slow)])
def test_every_picture_is_saved_without_clipped_text(tmp_path, count, seeds):
    figures = draw_all(build(tmp_path / "runs", count, seeds))
    expected = {"roc", "metrics", "differences_auc", "differences_accuracy"} if count > 2 else {"roc", "metrics"}
    assert set(figures) == expected
    for name, figure in figures.items():
        save_figure(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            pixels = np.asarray(image.convert("L"))
        assert pixels.std() > 5
        edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edges == 255).all(), f"{name} is cut off at its edge"


def test_curves_have_the_areas_given_in_the_legend(tmp_path):
    comparison = build(tmp_path, 3, seeds=2)
    figure = plot_roc_curves(comparison)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for model in comparison.models:
        area = model.metrics["auc"].value
        line = lines[f"{area:.3f}".removeprefix("0") + f"  {model.name}"]
        assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(area, abs=0.004)


def test_the_curve_of_several_classes_is_their_mean(tmp_path):
    truth = np.arange(300) % 3
    probabilities = class_probabilities(truth, 3, 1.0, 0)
    write_run(tmp_path / "run", truth, probabilities, class_names=BLOOD, task="multi-class")
    line = plot_roc_curves(compare(load_runs([tmp_path]))).axes[0].lines[-1]
    expected = roc_auc_score(truth, probabilities, multi_class="ovr")
    assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(expected, abs=0.004)


def test_many_models_have_grey_curves_but_the_reference_has_a_colour(tmp_path):
    build(tmp_path, 9)
    comparison = compare(load_runs([tmp_path]), "network-00")
    labels = [text.get_text() for text in plot_roc_curves(comparison).legends[0].get_texts()]
    assert len(labels) == 8
    assert any("network-00" in label for label in labels)
    assert labels[-1] == "2 other models"


def test_the_map_of_differences_is_antisymmetric_and_marks_significance(tmp_path):
    comparison = build(tmp_path, 9)
    axes = plot_differences(comparison, "auc").axes[0]
    values = np.ma.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(values.filled(0), -values.filled(0).T)
    assert values[0, 8] == pytest.approx(
        comparison.models[0].metrics["auc"].value - comparison.models[8].metrics["auc"].value
    )
    bold = sum(text.get_fontweight() == "bold" for text in axes.texts)
    shown = sum(pair.corrected < 0.05 for pair in comparison.pairs if pair.metric == "auc")
    assert bold == 2 * shown > 0
    with pytest.raises(InputError, match=r"at least two models\. Received: 1"):
        plot_differences(build(tmp_path / "one", 1), "auc")


@pytest.mark.parametrize("strength", [3.5, -3.5])
def test_axes_end_at_0_and_1(tmp_path, strength):
    comparison = compare(load_runs([write_breast_runs(tmp_path, {"lnn": strength, "cnn": 0.9 * strength})]))
    for axes in plot_metrics(comparison).axes:
        low, high = axes.get_xlim()
        assert 0 <= low < high <= 1
        assert all(line.get_clip_on() is False for line in axes.lines if line.get_markersize() == 4)


def test_colour_bar_ticks_differ_even_for_tiny_differences(tmp_path):
    comparison = compare(load_runs([write_breast_runs(tmp_path, {"a": 3.2, "b": 3.25, "c": 3.21})]))
    bar = plot_differences(comparison, "auc").axes[1]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["−.010", "−.005", "0", "+.005", "+.010"]


def test_the_legend_of_the_curves_lies_below_them(tmp_path):
    figure = plot_roc_curves(build(tmp_path, 3))
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().y1 < figure.axes[0].get_window_extent().y0
    assert figure.get_size_inches()[0] * 96 < 430


def test_metric_intervals_are_drawn_at_their_values(tmp_path):
    comparison = build(tmp_path, 2, seeds=3)
    figure = plot_metrics(comparison)
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "AUC")
    drawn = {tuple(np.round(line.get_xdata(), 9)) for line in axes.lines}
    for model in comparison.models:
        estimate = model.metrics["auc"]
        assert (round(estimate.low, 9), round(estimate.high, 9)) in drawn
        assert tuple(np.round(model.measured["auc"].values, 9)) in drawn
