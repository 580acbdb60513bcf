"""The picture of each label's metrics."""

import numpy as np
import pytest
from plot_cases import CHEST, heading, predict_labels

from keras_lnn import plots
from keras_lnn.errors import InputError
from keras_lnn.evaluation.predictions import evaluate_predictions
from keras_lnn.files.atomic import without_nan


def per_class(labels, thresholds=None):
    truth, probabilities = predict_labels(labels)
    found = evaluate_predictions(
        truth, probabilities, task="multi-label", class_names=CHEST[:labels], thresholds=thresholds
    )
    return without_nan(found.per_class_to_json()), len(truth)


def dots(axes, place):
    """The values that are drawn at a height."""
    return [
        line.get_xdata()[0]
        for line in axes.get_lines()
        if line.get_marker() == "o" and len(line.get_ydata()) and line.get_ydata()[0] == pytest.approx(place)
    ]


def test_every_label_stands_where_its_numbers_are_with_the_best_on_top():
    found, samples = per_class(5)
    figure = plots.plot_labels(found, samples)
    panels = figure.axes
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    areas = [found[name.partition(" (")[0]]["auc"]["value"] for name in names]
    assert areas == sorted(areas)
    for axes, metric in zip(panels, ("auc", "average_precision", "f1"), strict=True):
        for place, name in enumerate(names):
            assert dots(axes, place) == [found[name.partition(" (")[0]][metric]["value"]]
            assert name.endswith(f"({found[name.partition(' (')[0]]['support']})")
    assert heading(figure).startswith("Metrics of each label on 150 samples")


def test_f1_is_drawn_at_both_thresholds():
    found, samples = per_class(3, thresholds=(0.3, 0.4, 0.6))
    figure = plots.plot_labels(found, samples)
    axes = figure.axes[2]
    names = [label.get_text().partition(" (")[0] for label in figure.axes[0].get_yticklabels()]
    for place, name in enumerate(names):
        assert dots(axes, place + 0.14) == [found[name]["f1"]["value"]]
        assert dots(axes, place - 0.14) == [found[name]["f1_tuned"]["value"]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["above 0.5", "above its threshold"]


def test_undefined_values_are_left_out(tmp_path):
    truth, probabilities = predict_labels(2)
    truth[:, 1] = 0
    found = evaluate_predictions(truth, probabilities, task="multi-label", class_names=("a", "$b$"))
    figure = plots.plot_labels(without_nan(found.per_class_to_json()), len(truth))
    assert dots(figure.axes[0], 0) == []
    plots.save_figure(figure, tmp_path / "labels.png")
    assert np.isfinite(figure.axes[1].get_xlim()).all()


def test_empty_data_are_reported():
    with pytest.raises(InputError, match="There must be at least one label to draw"):
        plots.plot_labels({}, 3)
