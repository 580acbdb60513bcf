"""The picture of a training history."""

import numpy as np
import pytest
from plot_cases import heading, labelled_lines, make_history, texts

from keras_lnn import plots
from keras_lnn.errors import InputError


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_history_draws_each_column_and_marks_the_best_epoch():
    history = make_history()
    figure = plots.plot_history(history, best_epoch=4)
    assert titles(figure) == ["loss", "AUC"]
    assert "best epoch 4" in heading(figure)
    for axes, metric in zip(figure.axes, ("loss", "auc"), strict=True):
        lines = labelled_lines(axes)
        for column in (metric, f"val_{metric}"):
            np.testing.assert_array_equal(lines[column].get_xdata(), history["epoch"])
            np.testing.assert_array_equal(lines[column].get_ydata(), history[column])
        marked = [
            line.get_ydata()[0] for line in axes.get_lines() if line.get_xdata()[0] == 4 and len(line.get_xdata()) == 1
        ]
        assert sorted(marked) == sorted([history[metric][3], history[f"val_{metric}"][3]])
        assert axes.get_title(loc="right") == f"validation {history[f'val_{metric}'][3]:.3f}"


def test_history_has_room_for_all_that_a_run_measures():
    shown = ["accuracy", "f1", "auc", "score"]
    columns = {f"{side}{name}": np.linspace(0.2, 0.9, 5) for side in ("", "val_") for name in shown}
    figure = plots.plot_history(make_history(5, learning_rate=[3, 2, 1, 3, 2], **columns), best_epoch=2)
    assert sorted(titles(figure)) == sorted(["loss", "accuracy", "F1", "AUC", "score", "learning rate"])
    panel = figure.axes[titles(figure).index("score")]
    np.testing.assert_array_equal(labelled_lines(panel)["val_score"].get_ydata(), columns["val_score"])
    assert panel.get_title(loc="right") == f"validation {columns['val_score'][1]:.3f}"


@pytest.mark.parametrize(("rates", "scale"), [([1e-2, 1e-2, 1e-3, 1e-4], "log"), ([1e-3, 9e-4, 8e-4, 7e-4], "linear")])
def test_history_draws_a_learning_rate_that_changes(rates, scale):
    figure = plots.plot_history(make_history(4, learning_rate=rates), best_epoch=None)
    assert titles(figure) == ["loss", "AUC", "learning rate"]
    np.testing.assert_array_equal(labelled_lines(figure.axes[2])["learning_rate"].get_ydata(), rates)
    assert figure.axes[2].get_yscale() == scale


def test_history_of_one_epoch_shows_its_points():
    figure = plots.plot_history(make_history(1), best_epoch=None)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert low < 1 < high
        assert all(line.get_marker() == "o" for line in labelled_lines(axes).values())


def test_history_with_missing_values_keeps_the_others_visible():
    validation = [np.nan if epoch % 5 else 1 / epoch for epoch in range(1, 51)]
    diverged = np.full(50, np.nan)
    figure = plots.plot_history(make_history(50, val_loss=validation, auc=diverged, val_auc=diverged), best_epoch=7)
    line = labelled_lines(figure.axes[0])["val_loss"]
    np.testing.assert_array_equal(line.get_ydata(), validation)
    assert list(line.get_markevery()) == list(range(4, 50, 5))
    assert texts(figure.axes[1]) == ["no finite value"]


@pytest.mark.parametrize(
    ("history", "best_epoch"),
    [
        (make_history().iloc[:0], None),
        (make_history().drop(columns="epoch"), None),
        (make_history()[["epoch", "seconds"]], None),
        (make_history(), 6),
    ],
    ids=["empty", "no epoch", "no metric", "best epoch outside"],
)
def test_history_refuses_invalid_tables(history, best_epoch):
    with pytest.raises(InputError, match="Received"):
        plots.plot_history(history, best_epoch)
