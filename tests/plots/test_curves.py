"""ROC and precision-recall curves."""

import numpy as np
import pytest
from plot_cases import CHEST, TISSUE, heading, labelled_lines, predict_classes, predict_labels, texts
from sklearn import metrics

from keras_lnn import plots


@pytest.mark.parametrize("form", ["two columns", "one column", "flat"])
def test_roc_of_two_classes_is_that_of_class_1(form):
    truth, probabilities = predict_classes(2)
    given = {"two columns": probabilities, "one column": probabilities[:, 1:], "flat": probabilities[:, 1]}[form]
    figure = plots.plot_roc(truth[:, None], given, "binary", ["malignant", "normal, benign"])
    ((label, line),) = labelled_lines(figure.axes[0]).items()
    x, y, _ = metrics.roc_curve(truth, probabilities[:, 1])
    np.testing.assert_allclose(line.get_xdata(), x)
    np.testing.assert_allclose(line.get_ydata(), y)
    assert label == f"{metrics.roc_auc_score(truth, probabilities[:, 1]):.3f}  normal, benign"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [label]


def test_roc_of_a_hand_computed_case():
    figure = plots.plot_roc([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.8], "binary", ["no", "yes"])
    ((label, line),) = labelled_lines(figure.axes[0]).items()
    assert label.startswith("0.750 ")
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
        (1, 1),
    ]


def steps_of(present, probability):
    """Returns recall and precision at the thresholds where recall changes, in ascending order of thresholds."""
    rows = {}
    for threshold in np.unique(probability):
        above = probability >= threshold
        rows[present[above].sum() / present.sum()] = present[above].mean()
    rows = {recall: precision for recall, precision in rows.items() if recall > 0}
    return [*rows, 0.0], [*rows.values(), list(rows.values())[-1]]


@pytest.mark.parametrize(
    "scores",
    [
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2],  # the likeliest one is wrong
        [0.2, 0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1],  # all are found first
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.1, 0.1],  # ties
    ],
)
def test_precision_recall_has_no_vertical_line_where_recall_is_constant(scores):
    truth, scores = np.array([0, 1, 1, 1, 0, 0, 0, 0]), np.array(scores)
    ((_, line),) = labelled_lines(plots.plot_precision_recall(truth, scores, "binary", ["no", "yes"]).axes[0]).items()
    recall, precision = line.get_xdata(), line.get_ydata()
    assert (np.diff(recall) < 0).all()
    assert (recall[0], recall[-1], precision[-1]) == (1, 0, precision[-2])
    area = (-np.diff(recall) * precision[:-1]).sum()
    assert area == pytest.approx(metrics.average_precision_score(truth, scores))


def test_precision_recall_omits_an_absent_class():
    truth, probabilities = predict_classes(4, present=3)
    figure = plots.plot_precision_recall(truth, probabilities, "multi-class", [*TISSUE, "_absent $x$ one"])
    axes = figure.axes[0]
    lines = labelled_lines(axes)
    assert len(lines) == 3
    for index, line in enumerate(lines.values()):
        x, y = steps_of(truth == index, probabilities[:, index])
        np.testing.assert_allclose(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), y)
        area = metrics.average_precision_score(truth == index, probabilities[:, index])
        assert line.get_label().startswith(f"{area:.3f}  ")
    baselines = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
    np.testing.assert_allclose(baselines, [np.mean(truth == index) for index in range(3)])
    assert r"_absent \$x\$ one (nowhere in the truth)" in axes.get_title(loc="left").replace("\n", " ")


@pytest.mark.parametrize("plot", [plots.plot_roc, plots.plot_precision_recall])
def test_many_curves_have_one_panel_each(plot):
    truth, probabilities = predict_labels(14)
    figure = plot(truth, probabilities, "multi-label", CHEST)
    assert len(figure.axes) == 14
    for index, axes in enumerate(figure.axes):
        assert axes.get_title(loc="left").startswith(CHEST[index])
        ((label, line),) = labelled_lines(axes).items()
        if plot is plots.plot_roc:
            x, y, _ = metrics.roc_curve(truth[:, index], probabilities[:, index])
            assert label == f"AUC {metrics.roc_auc_score(truth[:, index], probabilities[:, index]):.3f}"
        else:
            x, y = steps_of(truth[:, index] == 1, probabilities[:, index])
            assert label.endswith(f"(prev. {truth[:, index].mean():.3f})")
        np.testing.assert_allclose(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), y)


def test_twelve_curves_share_a_panel_and_differ_in_look():
    truth, probabilities = predict_classes(12)
    figure = plots.plot_roc(truth, probabilities, "multi-class", [f"class {index}" for index in range(12)])
    looks = {(line.get_color(), line.get_linestyle()) for line in labelled_lines(figure.axes[0]).values()}
    assert len(figure.axes) == 1
    assert len(looks) == 12


def test_very_many_curves_show_only_the_lowest_and_report_it():
    truth, probabilities = predict_classes(33, samples=200)
    figure = plots.plot_roc(truth, probabilities, "multi-class", [str(index) for index in range(33)])
    areas = sorted(metrics.roc_auc_score(truth == index, probabilities[:, index]) for index in range(33))
    drawn = [next(iter(labelled_lines(axes))) for axes in figure.axes]
    assert drawn == [f"AUC {area:.3f}" for area in areas[:30]]
    assert "the 30 lowest of 33" in heading(figure)


def test_truth_of_a_single_class_reports_that_no_curve_is_defined():
    figure = plots.plot_roc([1, 1, 1], [0.5, 0.6, 0.7], "binary", ["no", "yes"])
    assert texts(figure.axes[0]) == ["no curve is defined"]
    assert "yes (everywhere in the truth)" in figure.axes[0].get_title(loc="left").replace("\n", " ")
