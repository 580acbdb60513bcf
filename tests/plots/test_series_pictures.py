"""Pictures of series of images in time: rows of frames with their times, and predictions while frames arrive."""

import numpy as np
import pytest
from tiny_series import make_series_data

from keras_lnn import plots
from keras_lnn.data.arrays import SeriesArray, Split
from keras_lnn.data.brightness import follow_brightness
from keras_lnn.errors import InputError
from keras_lnn.plots.reading import order_pictures
from keras_lnn.saved.predictor import predict_courses
from keras_lnn.tasks.kinds import make_task


def numbered_series(lengths, unit="minutes"):
    """Series whose frames have the value 10 * series + frame, at 0, 1.5, 3, ... minutes."""
    series = [
        np.full((n, 5, 5, 1), 10 * row, np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None, None]
        for row, n in enumerate(lengths)
    ]
    return SeriesArray.join(series, [7 + 1.5 * np.arange(n) for n in lengths], unit)


def drawn(figure):
    """The value, caption above and caption below of each frame."""
    return [(int(axes.images[0].get_array().flat[0]), axes.get_title(), axes.get_xlabel()) for axes in figure.axes]


def test_examples_of_series_are_rows_of_frames_with_their_times():
    series, truth = numbered_series([2, 3, 1]), np.array([0, 1, 1])
    figure = plots.plot_examples(series, truth, [0.1, 0.8, 0.2], "binary", ["no", "yes"], count=1)
    right = [(0, "#0\n0 minutes", "truth: no, predicted: no, p(predicted) = 0.900"), (1, "1.5", "")]
    wrong = [(20, "#2\n0 minutes", "truth: yes, predicted: no, p(predicted) = 0.800")]
    assert drawn(figure) == [*right, *wrong, *wrong]
    heading = figure.texts[0].get_text().replace("\n", " ")
    assert heading == "Examples among 3 series, a row of frames with times in minutes (blue: right, orange: wrong)"
    assert figure.axes[0].xaxis.label.get_horizontalalignment() == "left"


def test_of_many_frames_eight_are_drawn_from_the_first_to_the_last():
    figure = plots.plot_contact_sheet(numbered_series([20, 3]), np.array([0, 1]), ["no", "yes"])
    values = [value for value, _, _ in drawn(figure)]
    assert values == [0, 3, 5, 8, 11, 14, 16, 19, 10, 11, 12]
    assert "2 series, a row of frames (at most 8 of each)" in figure.texts[0].get_text().replace("\n", " ")


def test_training_series_are_drawn_as_rows_of_their_own():
    split = make_series_data().splits["train"]
    figure = make_task("binary", ("no", "yes")).draw_images(split)
    tops = {round(axes.get_position().y1, 4) for axes in figure.axes}
    assert len(tops) == 6  # three series of each class
    assert sum(title.startswith("0 minutes") for _, title, _ in drawn(figure)) == 6


def test_augmented_series_are_drawn_frame_by_frame():
    series = numbered_series([3, 2])
    versions = np.stack([series[:] + 100.0, series[:] + 200.0], axis=1)
    shown = drawn(plots.plot_augmentation(series, versions, ["a", "b"], "Mirror"))
    assert [value for value, _, _ in shown] == [0, 1, 2, 100, 101, 102, 200, 201, 202, 10, 11, 110, 111, 210, 211]
    assert [title for _, title, _ in shown[:6:3]] == ["original\n0 minutes", "epoch 1\n0 minutes"]


def test_a_course_has_the_prediction_of_each_beginning_of_a_series():
    series = numbered_series([2, 3])

    def predict(images):
        """The brightest frame that has arrived, and the time of the last one."""
        return np.stack([images[:].max(axis=(1, 2, 3, 4)), np.nanmax(images.times(), axis=1)], axis=-1)

    courses = predict_courses(predict, series)
    np.testing.assert_array_equal(courses[..., 0], [[0, 1, np.nan], [10, 11, 12]])
    np.testing.assert_array_equal(courses[..., 1], [[0, 1.5, np.nan], [0, 1.5, 3]])


COURSES = np.array([[0.2, 0.4, np.nan], [0.3, 0.6, 0.9], [0.5, 0.7, 0.8]])
TIMES = np.array([[0.0, 2.0, np.nan], [0.0, 1.0, 4.0], [0.0, 2.0, 3.0]])


def test_the_course_of_a_class_is_the_mean_over_its_series_which_keep_their_last_prediction():
    both = np.stack([1 - COURSES, COURSES], axis=-1)
    figure = plots.plot_course([0, 1, 1], both, TIMES, "hours", "binary", ["no", "yes"], (0.4, 0.6))
    single, means = figure.axes
    assert single.get_ylabel() == "probability of yes"
    assert {single.get_xlabel(), means.get_xlabel()} == {"time in hours"}
    lines = {line.get_label(): line for line in means.get_lines()}
    no, yes = (np.interp([0, 2.5, 4], *lines[name].get_data()) for name in ("no (1)", "yes (2)"))
    np.testing.assert_allclose(no, [0.2, 0.4, 0.4])
    np.testing.assert_allclose(yes, [0.4, 0.65, 0.85])
    # The series, and the threshold.
    assert [len(line.get_xdata()) for line in single.get_lines()] == [3, 3, 3, 2]
    assert single.get_lines()[-1].get_ydata()[0] == 0.6


def test_brightness_is_followed_where_a_series_changes_most():
    frames = np.full((3, 7, 7, 1), 50, np.uint8)
    frames[1, 1:4, 1:4], frames[2, 1:4, 1:4] = 140, 95
    frames[1, 5, 5] = 200  # noise of a single pixel, which changes less in the mean of nine
    series = SeriesArray.join([frames, frames[:2]], [np.arange(3.0), np.arange(2.0)], "hours")
    followed = follow_brightness(series)
    np.testing.assert_allclose(followed, [[50, 140, 95], [50, 140, np.nan]])
    both = np.stack([1 - COURSES, COURSES], axis=-1)
    values = np.where(np.isfinite(TIMES), 9.0, np.nan)
    figure = plots.plot_course([0, 1, 1], both, TIMES, "hours", "binary", ["no", "yes"], brightness=values)
    panel = figure.axes[2]
    assert panel.get_ylabel() == "pixel value"
    assert all(np.nanmax(line.get_ydata()) == 9 for line in panel.get_lines())


def test_of_several_classes_the_course_is_that_of_the_true_one():
    three = np.stack([1 - COURSES, COURSES / 4, 3 * COURSES / 4], axis=-1)
    figure = plots.plot_course([0, 2, 2], three, TIMES, "hours", "multi-class", ["a", "b", "c"])
    single, means = figure.axes
    assert single.get_ylabel() == "probability of the true class"
    assert [line.get_label() for line in means.get_lines()] == ["a (1)", "c (2)"]
    np.testing.assert_allclose([line.get_ydata()[-1] for line in means.get_lines()], [0.6, 0.75 * 0.85])
    with pytest.raises(InputError, match="must be \\(series, steps, classes\\)"):
        plots.plot_course([0, 1, 2], three, TIMES[:, :2], "hours", "multi-class", ["a", "b", "c"])


def test_pages_call_series_what_they_are():
    names = ["images", "confusion", "series", "course"]
    found = order_pictures(names)
    assert list(found) == names
    assert found["images"].title == "Training series"
    assert "What the series of each true class" in found["confusion"].sentence
    assert order_pictures(["images"])["images"].title == "Training images"
    assert not any("{" in reading.title + reading.sentence for reading in found.values())


def test_a_test_of_series_is_drawn_with_strips():
    split = make_series_data().splits["test"]
    task = make_task("binary", ("fading", "brightening"))
    predicted = np.stack([1 - split.labels, split.labels], axis=-1) * 0.8 + 0.1
    figures = task.draw_test(split, predicted, task.measure(split, predicted))
    assert "series" in figures
    assert "examples" not in figures
    images = Split(split.images[:][:, 0], split.labels)
    assert "examples" in task.draw_test(images, predicted, task.measure(images, predicted))
