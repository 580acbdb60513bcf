"""The picture of images beside the training images nearest to them."""

import numpy as np
import pytest
from plot_cases import numbered_images

from keras_lnn import plots
from keras_lnn.data.arrays import SeriesArray
from keras_lnn.errors import InputError


def draw(images, training, rows=((3, 1), (0, 2)), **changes):
    values = {"labels": [["a", "b"], ["b", "a"]], "titles": ["one", "two"]} | changes
    return plots.plot_neighbours(images, training, np.array(rows), np.array([[0.1, 0.25], [0, 1.5]]), **values)


def seen(figure):
    return [int(axes.images[0].get_array().flat[0]) for axes in figure.axes]


def test_each_image_stands_before_its_neighbours_with_their_labels_and_distances():
    figure = draw(numbered_images(2), numbered_images(4), names=[["x/p.png", "q.png"], ["r.png", "s.png"]])
    assert seen(figure) == [0, 3, 1, 1, 0, 2]
    assert [axes.get_title() for axes in figure.axes[:3]] == ["this image", "p.png", "q.png"]
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == ["", "a\ndistance 0.100", "b\ndistance 0.250"]
    assert [text.get_text().replace("\n", " ") for text in figure.texts] == [
        "Nearest training images by the features that the network decides by",
        "one",
        "two",
    ]
    assert draw(numbered_images(2), numbered_images(4)).axes[1].get_title() == "#3"


def test_volumes_show_their_middle_slice_and_series_their_last_frame():
    volumes = np.stack([numbered_images(5) + 10 * row for row in range(4)]).astype(np.uint8)
    figure = draw(volumes[:2], volumes)
    assert seen(figure) == [2, 32, 12, 12, 2, 22]
    assert figure.texts[0].get_text().replace("\n", " ").endswith(", middle slice of each volume")
    series = SeriesArray.join(
        [volumes[row][: row + 1] for row in range(4)], [np.arange(row + 1) for row in range(4)], "h"
    )
    figure = draw(series.take([0, 1]), series)
    assert seen(figure) == [0, 33, 11, 11, 0, 22]
    assert figure.texts[0].get_text().replace("\n", " ").endswith(", last frame of each series")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": ((4, 1), (0, 2))}, "rows must be positions among 4 training images. Received: 4."),
        ({"titles": ["one"]}, r"Received: \(2, 2\), \(2, 2\), 2 and 1 for 2 samples."),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(changes, words):
    with pytest.raises(InputError, match=words):
        draw(numbered_images(2), numbered_images(4), **changes)
