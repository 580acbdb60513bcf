"""Metrics on the terminal: at one half, at the chosen threshold, and for which class."""

import io

from rich.console import Console

from keras_lnn.terminal import print_metrics


def estimate(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def printed(metrics):
    text = io.StringIO()
    console = Console(file=text, width=140, highlight=False, markup=False)
    print_metrics(console, {"warnings": [], **metrics}, "title")
    return " ".join(text.getvalue().split())


def test_binary_metrics_are_printed_at_one_half_and_at_the_threshold():
    found = {"auc": estimate(0.85), "sensitivity": estimate(0.2), "sensitivity_tuned": estimate(0.8)}
    per_class = {"malignant": {"threshold": 0.31234}, "benign": {"threshold": 0.68766}}
    about = {"positive_class": "malignant", "threshold_rule": "sensitivity=.9", "per_class": {"test": per_class}}
    text = printed({"test": found, **about})
    assert "at 0.5 │ 95% interval │ at threshold" in text.replace("┃", "│")
    assert "sensitivity (malignant) │ 0.2000 │ 0.1000 to 0.3000 │ 0.8000 │ 0.7000 to 0.9000" in text
    assert "AUC │ 0.8500 │ 0.7500 to 0.9500 │ │ │" in text
    expected = "The class malignant is predicted above a threshold of 0.312, chosen on validation by sensitivity=.9."
    assert expected in text


def test_metrics_of_older_runs_are_printed():
    labels = {"auc": estimate(0.85), "f1": estimate(0.2), "f1_tuned": estimate(0.4)}
    assert "F1 │ 0.2000 │ 0.1000 to 0.3000 │ 0.4000 │" in printed({"val": labels, "positive_class": None})
    classes = printed({"test": {"f1": estimate(0.4)}, "positive_class": "benign"})
    assert "F1 (benign) │ 0.4000 │ 0.3000 to 0.5000 │" in classes
    assert "threshold" not in classes


def test_label_accuracy_is_printed_last_with_that_of_no_positive_prediction():
    names = ("auc", "accuracy", "f1", "accuracy_tuned", "f1_tuned", "brier")
    found = {name: estimate(0.5) for name in names}
    about = {"task": "multi-label", "intervals_over": {"test": {"unit": "images", "count": 50, "images": 50}}}
    about["per_class"] = {"test": {"mass": {"support": 4}, "edema": {"support": 6}}}
    text = printed({"test": found, **about})
    assert "accuracy, over all labels (if none is ever predicted: 0.9000) │ 0.5000" in text
    assert text.index("Brier") < text.index("accuracy, over all labels")
