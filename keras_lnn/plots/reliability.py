"""The reliability diagram: how often predictions of each confidence are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.arguments import Predictions, check_predictions
from keras_lnn.plots.style import BLUE, DARK_GREY, GREY, LABEL_SIZE, SMALL_SIZE, new_figure, set_heading, style_axes
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.deviations import Units
from keras_lnn.statistics.measurements import measure_proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 15
_COVERAGE = 0.95


def plot_reliability(
    truth: Any,
    probabilities: Any,
    task: str,
    class_names: Sequence[str],
    expected_calibration_error: float | None = None,
    uncalibrated: Any = None,
    groups: Sequence[str] | None = None,
) -> Figure:
    """Draws how often predictions of each confidence are right, and how many predictions have it.

    For classes the confidence is the probability of the predicted class; for several labels each image and label counts
    as one prediction of the label's presence. Bars are 95% intervals, by patient where patients are known.

    Args:
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels); for two classes also (samples,) of class 1.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        expected_calibration_error: Value for the title; None computes it from the 15 bins that are drawn.
        uncalibrated: The probabilities before calibration, whose means are drawn in grey; None for no such line.
        groups: The patient of each sample; None where they are unknown.

    Returns:
        The figure.

    Raises:
        InputError: If the arguments do not fit together.
    """
    predictions = check_predictions(truth, probabilities, task, class_names)
    confidence, right = _confidence_and_truth(predictions)
    counts, mean_confidence, share_right = _fill_bins(confidence, right)
    if expected_calibration_error is None:
        expected_calibration_error = _mean_gap(counts, mean_confidence, share_right)
    _require_share(expected_calibration_error)
    figure = new_figure(4.4, 5.4)
    diagram, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    by_label = predictions.is_multi_label
    # The likeliest of C classes has a probability of at least 1/C, so that the bins below are always empty.
    start = 0.0 if by_label else np.floor(BINS / len(predictions.class_names) + 1e-9) / BINS
    if uncalibrated is not None:
        _draw_means_before(diagram, check_predictions(truth, uncalibrated, task, class_names))
    # Several labels of a patient's images are as many predictions.
    each = None if groups is None else np.repeat(groups, len(confidence) // len(groups)).tolist()
    units = Units(len(confidence), each)
    _draw_diagram(diagram, mean_confidence, _bin_intervals(confidence, right, units), start)
    style_axes(diagram, "", "", "share with the label" if by_label else "share right")
    _draw_histogram(histogram, counts, start)
    unit = "labels" if by_label else "samples"
    style_axes(
        histogram, "", "probability of a label" if by_label else "confidence (probability of the predicted class)", unit
    )
    set_heading(figure, f"Reliability: expected calibration error {expected_calibration_error:.3f}")
    figure.legend(
        *diagram.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=LABEL_SIZE - 1
    )
    words = ("mean probability", "prevalence") if by_label else ("mean confidence", "accuracy")
    means = f"{words[0]} {float(confidence.mean()):.3f}, {words[1]} {right.mean():.3f}"
    diagram.set_title(f"{int(counts.sum())} {unit}, {means}", loc="left", fontsize=LABEL_SIZE - 1, color=DARK_GREY)
    return figure


def _require_share(expected_calibration_error: float) -> None:
    if not 0 <= expected_calibration_error <= 1:
        raise InputError(
            "expected_calibration_error must be from 0 to 1. "
            f"Received: {expected_calibration_error}. Give a share, not a percentage."
        )


def _confidence_and_truth(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    if predictions.is_multi_label:
        return predictions.confidence.ravel(), predictions.truth.ravel().astype(bool)
    return predictions.confidence, predictions.predicted == predictions.truth


def _find_bins(confidence: np.ndarray) -> np.ndarray:
    return np.digitize(confidence, np.linspace(0.0, 1.0, BINS + 1)[1:-1], right=True)


def _fill_bins(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns count, mean confidence and share correct of each bin; a value on an edge belongs to the lower bin."""
    index = _find_bins(confidence)
    counts = np.bincount(index, minlength=BINS)
    divisor = np.maximum(counts, 1)
    mean_confidence = np.bincount(index, confidence, minlength=BINS) / divisor
    return counts, mean_confidence, np.bincount(index, right.astype(np.float64), minlength=BINS) / divisor


def _mean_gap(counts: np.ndarray, mean_confidence: np.ndarray, share_right: np.ndarray) -> float:
    """Returns the expected calibration error: the mean gap of the bins, weighted by their counts."""
    return float(np.sum(counts * np.abs(share_right - mean_confidence)) / counts.sum())


def _bin_intervals(confidence: np.ndarray, right: np.ndarray, units: Units) -> list[Estimate]:
    """Returns the share that is right in each bin with its 95% interval; nan where a bin is empty."""
    index = _find_bins(confidence)
    return [
        measure_proportion(right & (index == place), index == place, units, _COVERAGE).estimate
        if (index == place).any()
        else Estimate(math.nan)
        for place in range(BINS)
    ]


def _draw_diagram(axes: Axes, mean_confidence: np.ndarray, shares: Sequence[Estimate], start: float) -> None:
    y, low, high = (np.array([getattr(share, end) for share in shares]) for end in ("value", "low", "high"))
    filled = ~np.isnan(y)
    x, y, low, high = mean_confidence[filled], y[filled], low[filled], high[filled]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=":", label="perfectly calibrated")
    axes.vlines(x, low, high, color=BLUE, linewidth=1.2, alpha=0.6, label="95% interval of each bin")
    axes.plot(x, y, color=BLUE, linewidth=1.6, marker="o", markersize=5, label="mean of each bin")
    axes.set_xlim(start - 0.01, 1.01)
    axes.set_ylim(-0.02, 1.02)


def _draw_means_before(axes: Axes, predictions: Predictions) -> None:
    counts, x, y = _fill_bins(*_confidence_and_truth(predictions))
    filled = counts > 0
    style: dict[str, Any] = {"color": DARK_GREY, "linewidth": 1.0, "marker": "o", "markersize": 3, "alpha": 0.7}
    axes.plot(x[filled], y[filled], label="before calibration", **style)


def _draw_histogram(axes: Axes, counts: np.ndarray, start: float) -> None:
    edges = np.linspace(0.0, 1.0, BINS + 1)
    axes.bar(edges[:-1], counts, width=1 / BINS, align="edge", color=BLUE, edgecolor="white", linewidth=0.8)
    if counts.max() < 10_000:
        for left, count in zip(edges[:-1], counts, strict=True):
            if count:
                place: dict[str, Any] = {
                    "xytext": (0, 1),
                    "textcoords": "offset points",
                    "ha": "center",
                    "va": "bottom",
                }
                axes.annotate(str(count), (left + 0.5 / BINS, count), fontsize=SMALL_SIZE - 1, color=DARK_GREY, **place)
        axes.margins(y=0.18)
    filled = counts[counts > 0]
    # A rare label puts nearly every prediction into the first bin: on a linear axis the others would vanish.
    if filled.max() > 100 * filled.min():
        axes.set_yscale("log")
        axes.set_ylim(0.5, None)
    else:
        axes.locator_params(axis="y", integer=True, nbins=4)
