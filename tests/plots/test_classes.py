"""The pictures of each class over the epochs, and of how they go together."""

import numpy as np
import pandas as pd
import pytest
from plot_cases import heading, labelled_lines, make_class_accuracy, texts

from keras_lnn import plots
from keras_lnn.errors import InputError


def test_each_class_has_one_labelled_line():
    accuracy = make_class_accuracy(5, ["no liver", "liver", "lesion"])
    figure = plots.plot_class_accuracy(accuracy, 4)
    lines = labelled_lines(figure.axes[0])
    assert list(lines) == ["no liver", "liver", "lesion"]
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(line.get_ydata(), accuracy[name])
    assert heading(figure) == "Validation accuracy of each class, best epoch 4"
    assert heading(plots.plot_class_accuracy(accuracy, None, multi_label=True)) == "Validation accuracy of each label"


def test_seven_classes_have_distinct_colours():
    figure = plots.plot_class_accuracy(make_class_accuracy(3, list("abcdefg")), None)
    lines = labelled_lines(figure.axes[0])
    assert len({line.get_color() for line in lines.values()}) == 7
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list("abcdefg")


def test_many_classes_have_one_row_each(tmp_path):
    accuracy = make_class_accuracy(5, list("abcdefghijklmn"))
    accuracy.loc[2, "c"] = np.nan
    figure = plots.plot_class_accuracy(accuracy, 4)
    axes = figure.axes[0]
    assert labelled_lines(axes) == {}
    assert not figure.legends
    drawn = np.ma.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(drawn.filled(np.nan), accuracy.to_numpy().T)
    assert [label.get_text() for label in axes.get_yticklabels()] == list("abcdefghijklmn")
    assert texts(axes) == [f"{value:.2f}" for value in accuracy.loc[4]]
    # Epoch 1 is the column around 1.
    assert tuple(axes.images[0].get_extent()[:2]) == (0.5, 5.5)
    assert figure.axes[1].get_ylabel() == "share of its samples that are found (recall) (numbers: epoch 4)"
    plots.save_figure(figure, tmp_path / "rows.png")
    assert texts(plots.plot_class_accuracy(accuracy * np.nan, None).axes[0]) == ["no sample of any class"]


def test_a_class_without_images_is_reported():
    accuracy = make_class_accuracy(2, ["a"]) * np.nan
    assert texts(plots.plot_class_accuracy(accuracy, None).axes[0]) == ["no sample of any class"]


def test_the_matrix_has_its_numbers_and_a_dash_where_there_is_none():
    accuracy = pd.DataFrame({"a": [0.1, 0.2, 0.4], "b": [0.9, 0.8, 0.6], "c": [0.5, 0.5, 0.5]})
    figure = plots.plot_class_correlation(accuracy.corr(), 3)
    assert texts(figure.axes[0]) == ["1.00", "-1.00", "–", "-1.00", "1.00", "–", "–", "–", "–"]
    assert "over 3 epochs" in heading(figure)
    many = make_class_accuracy(4, [f"class {index}" for index in range(13)])
    assert texts(plots.plot_class_correlation(many.corr(), 4).axes[0]) == []


@pytest.mark.parametrize("table", [pd.DataFrame(), pd.DataFrame(columns=["a"])])
def test_empty_data_are_reported(table):
    with pytest.raises(InputError, match=r"needs an epoch and a class. Received: 0 rows"):
        plots.plot_class_accuracy(table, None)
    with pytest.raises(InputError, match="needs an epoch and a class"):
        plots.plot_class_correlation(table, 3)
