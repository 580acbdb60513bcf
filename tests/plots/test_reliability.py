"""Reliability diagrams."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from plot_cases import TISSUE, heading, labelled_lines, predict_classes, predict_labels

from keras_lnn import plots
from keras_lnn.errors import InputError


def heights_of(axes):
    return [bar.get_height() for bar in axes.patches]


def test_reliability_of_a_hand_computed_case():
    # Confidences .9 (right, wrong) and .6 (right): the gaps are .4 of two thirds and .4 of one third.
    figure = plots.plot_reliability([1, 0, 0], [0.9, 0.9, 0.4], "binary", ["no", "yes"])
    diagram, histogram = figure.axes
    line = labelled_lines(diagram)["mean of each bin"]
    np.testing.assert_allclose(line.get_xdata(), [0.6, 0.9])
    np.testing.assert_allclose(line.get_ydata(), [1.0, 0.5])
    assert sum(heights_of(histogram)) == 3
    assert heading(figure) == "Reliability: expected calibration error 0.400"


@pytest.mark.parametrize("task", ["multi-class", "multi-label"])
def test_reliability_points_and_error_equal_a_plain_loop(task):
    truth, probabilities = predict_labels(4) if task == "multi-label" else predict_classes(4)
    if task == "multi-label":
        confidence, right = probabilities.ravel(), truth.ravel() == 1
    else:
        confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    points, heights, error = [], [], 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        heights.append(inside.sum())
        if inside.any():
            points.append((confidence[inside].mean(), right[inside].mean()))
            error += inside.mean() * abs(points[-1][0] - points[-1][1])
    figure = plots.plot_reliability(truth, probabilities, task, list("abcd"))
    line = labelled_lines(figure.axes[0])["mean of each bin"]
    np.testing.assert_allclose(np.transpose([line.get_xdata(), line.get_ydata()]), points)
    assert heights_of(figure.axes[1]) == heights
    assert heading(figure).endswith(f"{error:.3f}")


def interval_of_bins(figure):
    (bars,) = figure.axes[0].collections
    assert isinstance(bars, LineCollection)
    return np.array([segment[:, 1] for segment in bars.get_segments()])


def test_reliability_intervals_are_those_of_agresti_and_coull():
    truth, probabilities = predict_classes(3, samples=200)
    figure = plots.plot_reliability(truth, probabilities, "multi-class", TISSUE)
    shares = labelled_lines(figure.axes[0])["mean of each bin"].get_ydata()
    counts = [int(height) for height in heights_of(figure.axes[1]) if height]
    for ends, share, count in zip(interval_of_bins(figure), shares, counts, strict=True):
        total, right = count + 1.959964**2, share * count + 1.959964**2 / 2
        reach = 1.959964 * np.sqrt(right / total * (1 - right / total) / total)
        np.testing.assert_allclose(ends, np.clip([right / total - reach, right / total + reach], 0, 1), atol=1e-6)


@pytest.mark.parametrize("task", ["multi-class", "multi-label"])
def test_reliability_intervals_are_by_patient(task):
    truth, probabilities = predict_labels(4, 100) if task == "multi-label" else predict_classes(4, samples=100)
    about = (np.repeat(truth, 4, axis=0), np.repeat(probabilities, 4, axis=0), task, list("abcd"))
    by_image = interval_of_bins(plots.plot_reliability(*about))
    patients = [f"P{row // 4}" for row in range(400)]
    by_patient = interval_of_bins(plots.plot_reliability(*about, groups=patients))
    # Four copies of each image hold nothing new, unless nothing varies within a bin.
    assert (np.diff(by_patient) >= np.diff(by_image)).all()
    assert np.median(np.diff(by_patient) / np.diff(by_image)) > 1.5


def test_reliability_before_calibration_is_a_line_of_its_own():
    truth, probabilities = predict_classes(4)
    flat = 0.5 * probabilities + 0.125
    lines = labelled_lines(
        plots.plot_reliability(truth, probabilities, "multi-class", list("abcd"), None, flat).axes[0]
    )
    alone = labelled_lines(plots.plot_reliability(truth, flat, "multi-class", list("abcd")).axes[0])
    assert "before calibration" not in alone
    np.testing.assert_array_equal(lines["before calibration"].get_xydata(), alone["mean of each bin"].get_xydata())


def test_reliability_shows_the_given_calibration_error():
    truth, probabilities = predict_classes(2)
    figure = plots.plot_reliability(truth, probabilities, "binary", ["no", "yes"], expected_calibration_error=0.123)
    assert heading(figure).endswith("0.123")
    with pytest.raises(InputError, match="a share, not a percentage"):
        plots.plot_reliability(truth, probabilities, "binary", ["no", "yes"], expected_calibration_error=12.3)
