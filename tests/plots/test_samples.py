"""Sheets of images: examples of predictions, and contact sheets."""

import numpy as np
import pytest
from plot_cases import numbered_images, predict_classes

from keras_lnn import plots
from keras_lnn.errors import InputError


def drawn(figure):
    """The position, caption above and caption below of each image."""
    return [(int(axes.images[0].get_array().flat[0]), axes.get_title(), axes.get_xlabel()) for axes in figure.axes]


def test_examples_are_the_surest_right_the_least_sure_and_the_surest_wrong():
    truth = np.array([0, 0, 1, 1, 1, 0])
    probabilities = np.array([0.01, 0.9, 0.95, 0.48, 0.2, 0.45])
    figure = plots.plot_examples(numbered_images(6), truth, probabilities, "binary", ["malignant", "benign"], count=2)
    shown = drawn(figure)
    assert [position for position, _, _ in shown] == [0, 2, 3, 5, 1, 4]
    assert [above for _, above, _ in shown] == ["#0", "#2", "#3", "#5", "#1", "#4"]
    assert shown[0][2] == "truth: malignant\npredicted: malignant\np(predicted) = 0.990"
    assert shown[4][2] == "truth: malignant\npredicted: benign\np(predicted) = 0.900"
    colours = [axes.xaxis.label.get_color() for axes in figure.axes]
    assert colours[0] == colours[1] == colours[3] != colours[2] == colours[4] == colours[5]


def test_examples_report_that_no_prediction_is_wrong():
    truth = np.array([0, 1, 1])
    figure = plots.plot_examples(numbered_images(3), truth, np.eye(2)[truth], "binary", ["no", "yes"], count=8)
    assert len(figure.axes) == 6
    words = [text.get_text() for text in figure.texts]
    assert "no image is misclassified" in words
    assert "Most confident wrong (of 0 wrong)" in words


def test_examples_of_equal_probability_depend_on_the_seed_only():
    images, truth = numbered_images(100), np.zeros(100, dtype=int)
    chosen = [
        [
            position
            for position, _, _ in drawn(plots.plot_examples(images, truth, np.zeros(100), "binary", "ab", seed=seed))
        ]
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_examples_of_several_labels_show_each_image_once_in_a_row():
    truth = np.array([[1, 1], [0, 1], [1, 0]])
    probabilities = np.array([[0.9, 0.8], [0.7, 0.6], [0.45, 0.02]])
    figure = plots.plot_examples(numbered_images(3), truth, probabilities, "multi-label", ["mass", "edema"])
    shown = [(position, below) for position, _, below in drawn(figure)]
    assert shown[:2] == [
        (0, "mass\ntruth: present\np(present) = 0.900"),
        (1, "edema\ntruth: present\np(present) = 0.600"),
    ]
    assert [position for position, _ in shown[2:5]] == [2, 1, 0]
    assert shown[5:] == [
        (1, "mass\ntruth: absent\np(present) = 0.700"),
        (2, "mass\ntruth: present\np(present) = 0.450"),
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_of_volumes_show_the_middle_slice(channels):
    volumes = np.zeros((2, 5, 4, 4, channels), dtype=np.uint8)
    volumes[:, 2] = 77
    figure = plots.plot_examples(volumes, [0, 1], [0.2, 0.9], "binary", ["no", "yes"], names=["x/y/scan.nii", "b" * 60])
    for axes in figure.axes:
        picture = axes.images[0].get_array()
        assert picture.shape == ((4, 4) if channels == 1 else (4, 4, 3))
        assert (picture == 77).all()
    assert "middle slice of each volume" in figure.texts[0].get_text().replace("\n", " ")
    assert {above for _, above, _ in drawn(figure)} >= {"scan.nii"}
    assert all(len(line) <= 22 for _, above, _ in drawn(figure) for line in above.split("\n"))


def test_examples_read_only_the_rows_that_they_show_in_rising_order():
    read = []

    class OnDisk:
        shape, dtype = (50, 6, 6, 1), np.uint8

        def __len__(self):
            return 50

        def __getitem__(self, rows):
            read.append(rows)
            return numbered_images(50)[rows]

    truth, probabilities = predict_classes(2, samples=50)
    expected = drawn(plots.plot_examples(numbered_images(50), truth, probabilities, "binary", ["no", "yes"], count=3))
    assert drawn(plots.plot_examples(OnDisk(), truth, probabilities, "binary", ["no", "yes"], count=3)) == expected
    assert all(len(rows) <= 3 and (np.diff(rows) > 0).all() for rows in read)


def test_contact_sheet_spreads_over_each_class():
    labels = np.array([0] * 9 + [1] * 2)
    figure = plots.plot_contact_sheet(numbered_images(11), labels[:, None], ["many", "few", "none"], 3, "Phantoms")
    assert [position for position, _, _ in drawn(figure)] == [0, 4, 8, 9, 10]
    words = [text.get_text() for text in figure.texts]
    assert words == [
        "Phantoms: 11 images",
        "many (9 of 11)",
        "few (2 of 11)",
        "none (0 of 11)",
        "no image has this label",
    ]


def test_contact_sheet_of_several_labels_shows_an_image_under_each():
    labels = np.array([[1, 0], [1, 1], [0, 1]])
    figure = plots.plot_contact_sheet(numbered_images(3), labels, ["mass", "edema"])
    assert [position for position, _, _ in drawn(figure)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("images", "labels", "count"),
    [
        (numbered_images(3), [0, 1], 4),
        (numbered_images(3), [0, 1, 2], 4),
        (numbered_images(3), [0, 1, 0.5], 4),
        (numbered_images(3), [0, 1, 1], 0),
        (numbered_images(3)[..., 0], [0, 1, 1], 4),
        (numbered_images(0), [], 4),
    ],
    ids=["lengths", "class outside", "no index", "count", "no channels", "empty"],
)
def test_sheets_refuse_unsuitable_images(images, labels, count):
    with pytest.raises(InputError, match="Received"):
        plots.plot_contact_sheet(images, labels, ["no", "yes"], count)
    with pytest.raises(InputError, match="Received"):
        plots.plot_examples(images, labels, [0.1] * len(labels), "binary", ["no", "yes"], count=count)


def test_examples_refuse_too_few_names():
    with pytest.raises(InputError, match=r"must have the same length\. Received: 3, 3, 2"):
        plots.plot_examples(numbered_images(3), [0, 1, 0], [0.1] * 3, "binary", ["no", "yes"], names=["a", "b"])
