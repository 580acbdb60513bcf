"""A picture of how often a model is wrong about what it decides itself, by how much it refers to a human."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.errors import InputError
from keras_lnn.plots.style import BLUE, DARK_GREY, LABEL_SIZE, ORANGE, new_figure, set_heading, style_axes
from keras_lnn.statistics.prediction_sets import risk_by_coverage

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_referral(
    confidence: np.ndarray, right: np.ndarray, risk: float | None = None, least: float | None = None
) -> Figure:
    """Draws the share of wrong decisions against the share of samples that are decided, the surest first.

    Args:
        confidence: The confidence in the predicted class of each sample, (samples,).
        right: Whether the prediction is right, (samples,).
        risk: The promised largest share of wrong decisions, for a line; None for no line.
        least: The least confidence at which a sample is decided, for a dot; None for no dot.

    Returns:
        The figure. At the right end every sample is decided.

    Raises:
        InputError: If there are no samples, or another number of predictions.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, bool)
    if confidence.ndim != 1 or confidence.shape != right.shape or not len(confidence):
        raise InputError(
            "confidence and right must have one number per sample, and there must be some. Received: shapes "
            f"{confidence.shape} and {right.shape}."
        )
    curve = risk_by_coverage(confidence, right)
    figure = new_figure(5.2, 4.3)
    axes = figure.subplots()
    axes.plot(curve.coverage, curve.risk, color=BLUE, linewidth=1.5, drawstyle="steps-pre", label="the model")
    if risk is not None:
        axes.axhline(risk, color=DARK_GREY, linewidth=1, linestyle=":", label=f"promised: at most {risk:g}")
    decided = np.zeros(len(right), bool) if least is None else confidence >= least
    if decided.any():
        label = f"decides from a confidence of {least:.3f}"
        axes.plot(decided.mean(), (~right[decided]).mean(), "o", color=ORANGE, markersize=6, label=label)
    style_axes(axes, "", "share that the model decides itself", "share of these that is wrong")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, max(float(curve.risk.max()), risk or 0.0, 0.01) * 1.08)
    figure.legend(loc="outside lower left", fontsize=LABEL_SIZE - 0.5, frameon=False)
    set_heading(figure, f"Errors against referral to a human, {len(right):,} samples")
    return figure
