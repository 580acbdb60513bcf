"""The pictures: whether what they draw is what they were given, and whether they can be saved and read."""

import subprocess
import sys
import types

import numpy as np
import pandas
import pytest
from ncps.wirings import AutoNCP, FullyConnected, Random
from PIL import Image
from sklearn import metrics

from keras_lnn import plots
from keras_lnn.errors import InputError

CHEST = ["atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax"]
CHEST = [*CHEST, "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"]
TISSUE = ["adipose", "background", "colorectal adenocarcinoma epithelium"]


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def predict_classes(classes, samples=120, seed=0, present=None):
    """Truth among the first ``present`` classes, and probabilities that know something of it."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, present or classes, samples)
    truth[: present or classes] = np.arange(present or classes)
    return truth, softmax(random.normal(size=(samples, classes)) + 1.5 * np.eye(classes)[truth])


def predict_labels(labels, samples=150, seed=0):
    random = np.random.default_rng(seed)
    truth = (random.random((samples, labels)) < 0.2).astype(np.uint8)
    truth[0], truth[1] = 1, 0
    return truth, 1 / (1 + np.exp(1.2 - 1.8 * truth - random.normal(size=truth.shape)))


def make_history(epochs=5, **columns):
    steps = np.arange(1, epochs + 1)
    content = {"epoch": steps, "loss": 1 / steps, "auc": 1 - 0.4 / steps, "val_loss": 1.2 / steps}
    content |= {"val_auc": 1 - 0.5 / steps, "learning_rate": np.full(epochs, 1e-3), "seconds": np.ones(epochs)}
    return pandas.DataFrame(content | columns)


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def labelled_lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def heading(figure):
    return figure.get_suptitle().replace("\n", " ")


# History


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
def test_history_refuses(history, best_epoch):
    with pytest.raises(InputError, match="Received"):
        plots.plot_history(history, best_epoch)


# Curves


@pytest.mark.parametrize("form", ["two columns", "one column", "flat"])
def test_roc_of_two_classes_is_that_of_class_1(form):
    truth, probabilities = predict_classes(2)
    given = {"two columns": probabilities, "one column": probabilities[:, 1:], "flat": probabilities[:, 1]}[form]
    figure = plots.plot_roc(truth[:, None], given, "binary", ["malignant", "normal, benign"])
    ((label, line),) = labelled_lines(figure.axes[0]).items()
    x, y, _ = metrics.roc_curve(truth, probabilities[:, 1])
    np.testing.assert_allclose(line.get_xdata(), x)
    np.testing.assert_allclose(line.get_ydata(), y)
    assert label == f"{metrics.roc_auc_score(truth, probabilities[:, 1]):.3f}  normal, benign"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [label]


def test_roc_of_a_hand_computed_case():
    figure = plots.plot_roc([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.8], "binary", ["no", "yes"])
    ((label, line),) = labelled_lines(figure.axes[0]).items()
    assert label.startswith("0.750 ")
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
        (1, 1),
    ]


def test_precision_recall_of_several_classes_leaves_out_an_absent_one():
    truth, probabilities = predict_classes(4, present=3)
    figure = plots.plot_precision_recall(truth, probabilities, "multi-class", [*TISSUE, "_absent $x$ one"])
    axes = figure.axes[0]
    lines = labelled_lines(axes)
    assert len(lines) == 3
    for index, line in enumerate(lines.values()):
        precision, recall, _ = metrics.precision_recall_curve(truth == index, probabilities[:, index])
        np.testing.assert_allclose(line.get_xdata(), recall)
        np.testing.assert_allclose(line.get_ydata(), precision)
        area = metrics.average_precision_score(truth == index, probabilities[:, index])
        assert line.get_label().startswith(f"{area:.3f}  ")
    baselines = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == ":"]
    np.testing.assert_allclose(baselines, [np.mean(truth == index) for index in range(3)])
    assert r"_absent \$x\$ one (nowhere in the truth)" in axes.get_title(loc="left").replace("\n", " ")


@pytest.mark.parametrize("plot", [plots.plot_roc, plots.plot_precision_recall])
def test_many_curves_get_a_panel_each(plot):
    truth, probabilities = predict_labels(14)
    figure = plot(truth, probabilities, "multi-label", CHEST)
    assert len(figure.axes) == 14
    for index, axes in enumerate(figure.axes):
        assert axes.get_title(loc="left").startswith(CHEST[index])
        ((label, line),) = labelled_lines(axes).items()
        if plot is plots.plot_roc:
            x, y, _ = metrics.roc_curve(truth[:, index], probabilities[:, index])
            assert label == f"AUC {metrics.roc_auc_score(truth[:, index], probabilities[:, index]):.3f}"
        else:
            y, x, _ = metrics.precision_recall_curve(truth[:, index], probabilities[:, index])
            assert label.endswith(f"(prev. {truth[:, index].mean():.3f})")
        np.testing.assert_allclose(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), y)


def test_twelve_curves_share_a_panel_and_differ_in_look():
    truth, probabilities = predict_classes(12)
    figure = plots.plot_roc(truth, probabilities, "multi-class", [f"class {index}" for index in range(12)])
    looks = {(line.get_color(), line.get_linestyle()) for line in labelled_lines(figure.axes[0]).values()}
    assert len(figure.axes) == 1
    assert len(looks) == 12


def test_very_many_curves_show_the_lowest_and_say_so():
    truth, probabilities = predict_classes(33, samples=200)
    figure = plots.plot_roc(truth, probabilities, "multi-class", [str(index) for index in range(33)])
    areas = sorted(metrics.roc_auc_score(truth == index, probabilities[:, index]) for index in range(33))
    drawn = [next(iter(labelled_lines(axes))) for axes in figure.axes]
    assert drawn == [f"AUC {area:.3f}" for area in areas[:30]]
    assert "the 30 lowest of 33" in heading(figure)


def test_truth_of_one_class_only_says_that_no_curve_is_defined():
    figure = plots.plot_roc([1, 1, 1], [0.5, 0.6, 0.7], "binary", ["no", "yes"])
    assert texts(figure.axes[0]) == ["no curve is defined"]
    assert "yes (everywhere in the truth)" in figure.axes[0].get_title(loc="left").replace("\n", " ")


# Confusion


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (11, 11), (5, 4)])
def test_confusion_of_classes_equals_scikit_learn(classes, present):
    truth, probabilities = predict_classes(classes, present=present)
    names = [f"organ number {index}" for index in range(classes)]
    figure = plots.plot_confusion(truth, probabilities, "binary" if classes == 2 else "ordinal", names)
    expected = metrics.confusion_matrix(truth, probabilities.argmax(axis=1), labels=range(classes))
    axes = figure.axes[0]
    counts = np.array([int(text.split("\n")[0]) for text in texts(axes)]).reshape(classes, classes)
    np.testing.assert_array_equal(counts, expected)
    shares = expected / np.maximum(expected.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    for text, share, total in zip(texts(axes), shares.ravel(), expected.sum(axis=1).repeat(classes), strict=True):
        if total == 0:
            assert text == "0\n–"
        elif share > 0.005:
            assert text.endswith(f"\n{share:.0%}")
    assert f"{np.trace(expected)} of {len(truth)} right" in heading(figure)
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == names


def test_confusion_of_fourteen_labels_has_a_matrix_each():
    truth, probabilities = predict_labels(14)
    figure = plots.plot_confusion(truth, probabilities, "multi-label", CHEST)
    assert [axes.get_title() for axes in figure.axes] == CHEST
    expected = metrics.multilabel_confusion_matrix(truth, probabilities > 0.5)
    for axes, matrix in zip(figure.axes, expected, strict=True):
        assert [int(text.split("\n")[0]) for text in texts(axes)] == matrix.ravel().tolist()


def test_confusion_says_that_a_small_share_is_not_none():
    truth = np.array([0] * 1000 + [1])
    probabilities = np.array([0.9] + [0.1] * 999 + [0.9])
    figure = plots.plot_confusion(truth, probabilities, "binary", ["no", "yes"])
    assert texts(figure.axes[0]) == ["999\n>99%", "1\n<1%", "0", "1\n100%"]


def test_confusion_of_very_many_classes_leaves_the_numbers_out():
    truth, probabilities = predict_classes(25)
    figure = plots.plot_confusion(truth, probabilities, "multi-class", [str(index) for index in range(25)])
    assert texts(figure.axes[0]) == []
    assert figure.axes[0].images[0].get_array().shape == (25, 25)


# Reliability


def test_reliability_of_a_hand_computed_case():
    # Confidences .9 (right, wrong) and .6 (right): the gaps are .4 of two thirds and .4 of one third.
    figure = plots.plot_reliability([1, 0, 0], [0.9, 0.9, 0.4], "binary", ["no", "yes"])
    diagram, histogram = figure.axes
    line = labelled_lines(diagram)["mean of each bin"]
    np.testing.assert_allclose(line.get_xdata(), [0.6, 0.9])
    np.testing.assert_allclose(line.get_ydata(), [1.0, 0.5])
    assert sum(bar.get_height() for bar in histogram.patches) == 3
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
    assert [bar.get_height() for bar in figure.axes[1].patches] == heights
    assert heading(figure).endswith(f"{error:.3f}")


def test_reliability_intervals_are_wilson_s():
    from scipy.stats import binomtest

    truth, probabilities = predict_classes(3, samples=200)
    figure = plots.plot_reliability(truth, probabilities, "multi-class", TISSUE)
    shares = labelled_lines(figure.axes[0])["mean of each bin"].get_ydata()
    counts = [int(bar.get_height()) for bar in figure.axes[1].patches if bar.get_height()]
    (bars,) = figure.axes[0].collections
    for segment, share, count in zip(bars.get_segments(), shares, counts, strict=True):
        interval = binomtest(round(share * count), count).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose(segment[:, 1], interval, atol=1e-6)


def test_reliability_says_the_error_that_it_is_given():
    truth, probabilities = predict_classes(2)
    figure = plots.plot_reliability(truth, probabilities, "binary", ["no", "yes"], expected_calibration_error=0.123)
    assert heading(figure).endswith("0.123")
    with pytest.raises(InputError, match="a share, not a percentage"):
        plots.plot_reliability(truth, probabilities, "binary", ["no", "yes"], expected_calibration_error=12.3)


# What all pictures of predictions refuse


@pytest.mark.parametrize(
    ("truth", "probabilities", "task", "names", "message"),
    [
        ([0, 1], [0.1, 0.2, 0.3], "binary", "ab", "one truth a prediction"),
        ([], [], "binary", "ab", "at least one prediction"),
        ([0, 1], [0.1, 1.7], "binary", "ab", "from 0 to 1. Received: 0.1 to 1.7"),
        ([0, 1], [0.1, np.nan], "binary", "ab", "Apply the softmax"),
        ([0, 2], [0.1, 0.9], "binary", "ab", "from 0 to 1. Received: 2"),
        ([0, 1], [0.1, 0.9], "binary", "abc", "two class names"),
        ([0, 1], [[0.5, 0.5]] * 2, "multi-class", "abc", "one column for each of 3"),
        ([0, 1], [[0.5, 0.5]] * 2, "multi-label", "ab", "shape"),
        ([0, 1], [0.1, 0.9], "multiclass", "ab", "Did you mean multi-class"),
    ],
)
@pytest.mark.parametrize(
    "plot", [plots.plot_roc, plots.plot_precision_recall, plots.plot_confusion, plots.plot_reliability]
)
def test_predictions_that_do_not_fit_are_refused(plot, truth, probabilities, task, names, message):
    with pytest.raises(InputError, match=message):
        plot(truth, probabilities, task, list(names))


# Sheets of images


def numbered_images(count, shape=(6, 6, 1)):
    """Images of one brightness each, which says their position."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8).reshape(-1, *[1] * len(shape)), (count, *shape)).copy()


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
    assert shown[0][2] == "truth: malignant\nsaid: malignant\np(said) = 0.990"
    assert shown[4][2] == "truth: malignant\nsaid: benign\np(said) = 0.900"
    colours = [axes.xaxis.label.get_color() for axes in figure.axes]
    assert colours[0] == colours[1] == colours[3] != colours[2] == colours[4] == colours[5]


def test_examples_without_a_wrong_one_say_so():
    truth = np.array([0, 1, 1])
    figure = plots.plot_examples(numbered_images(3), truth, np.eye(2)[truth], "binary", ["no", "yes"], count=8)
    assert len(figure.axes) == 6
    words = [text.get_text() for text in figure.texts]
    assert "no image is classified wrongly" in words
    assert "Surest wrong (of 0 wrong)" in words


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
def test_sheets_refuse_what_does_not_fit(images, labels, count):
    with pytest.raises(InputError, match="Received"):
        plots.plot_contact_sheet(images, labels, ["no", "yes"], count)
    with pytest.raises(InputError, match="Received"):
        plots.plot_examples(images, labels, [0.1] * len(labels), "binary", ["no", "yes"], count=count)


def test_examples_refuse_too_few_names():
    with pytest.raises(InputError, match=r"equally many\. Received: 3, 3, 2"):
        plots.plot_examples(numbered_images(3), [0, 1, 0], [0.1] * 3, "binary", ["no", "yes"], names=["a", "b"])


# Wiring


def built(wiring, features):
    wiring.build(features)
    return wiring


POLARITIES = ("excitatory", "inhibitory")


def segments(figure):
    collections = {lines.get_gid(): lines for lines in figure.axes[0].collections}
    return {name: lines.get_segments() for name, lines in collections.items() if name.endswith(POLARITIES)}


def neurons(figure):
    dots = {dots.get_gid(): dots.get_offsets() for dots in figure.axes[0].collections}
    return {kind: np.asarray(dots[kind]) for kind in ("sensory", "inter", "command", "motor") if kind in dots}


@pytest.mark.parametrize(
    "wiring",
    [built(AutoNCP(19, 2), 16), built(FullyConnected(12, 2), 9), built(Random(20, 3, 0.7), 28)],
    ids=["AutoNCP", "FullyConnected", "Random"],
)
def test_wiring_draws_a_line_for_each_synapse_from_its_neuron_to_its_neuron(wiring):
    figure = plots.plot_wiring(wiring, "A wiring")
    lines = segments(figure)
    for source, matrix in (("sensory", wiring.sensory_adjacency_matrix), ("neuron", wiring.adjacency_matrix)):
        assert len(lines[f"{source} excitatory"]) == (matrix == 1).sum()
        assert len(lines[f"{source} inhibitory"]) == (matrix == -1).sum()
    counts = {kind: len(points) for kind, points in neurons(figure).items()}
    expected = pandas.Series([wiring.get_type_of_neuron(index) for index in range(wiring.units)]).value_counts()
    assert counts == {"sensory": wiring.input_dim, **expected}
    # Motor neurons stand in their own order, so that what arrives at each can be counted.
    arrivals = np.array([line[-1] for group in lines.values() for line in group])
    for index, place in enumerate(neurons(figure)["motor"]):
        driven_by = np.count_nonzero(wiring.adjacency_matrix[:, index])
        driven_by += np.count_nonzero(wiring.sensory_adjacency_matrix[:, index])
        assert np.isclose(arrivals, place).all(axis=1).sum() == driven_by
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    total = (wiring.adjacency_matrix == 1).sum() + (wiring.sensory_adjacency_matrix == 1).sum()
    assert legend[0].startswith(f"{total} excitatory synapses")


def test_wiring_with_very_many_inputs_thins_them_and_says_so():
    wiring = built(AutoNCP(60, 5), 512)
    figure = plots.plot_wiring(wiring, "Large")
    shown = len(neurons(figure)["sensory"])
    assert 12 <= shown <= 32
    assert f"512 sensory\n({shown} shown)" in texts(figure.axes[0])
    lines = segments(figure)
    rows = np.unique(np.linspace(0, 511, shown).round().astype(int))
    drawn_synapses = len(lines["sensory excitatory"]) + len(lines["sensory inhibitory"])
    assert drawn_synapses == np.count_nonzero(wiring.sensory_adjacency_matrix[rows])
    legend = figure.legends[0].get_texts()[1].get_text()
    assert f"{(wiring.sensory_adjacency_matrix == -1).sum()} from inputs" in legend


def test_wiring_keeps_a_synapse_to_itself_and_both_of_a_pair_apart():
    wiring = types.SimpleNamespace(
        units=2,
        output_dim=2,
        adjacency_matrix=np.array([[1, 1], [-1, 0]]),
        sensory_adjacency_matrix=np.array([[1, 0]]),
        get_type_of_neuron=lambda neuron: "motor",
    )
    lines = segments(plots.plot_wiring(wiring, "Two"))
    ring, down = lines["neuron excitatory"]
    (up,) = lines["neuron inhibitory"]
    np.testing.assert_allclose(ring[0], ring[-1], atol=1e-9)
    np.testing.assert_allclose([down[0], down[-1]], [up[-1], up[0]])
    assert down[:, 0].max() > down[0, 0] > up[:, 0].min()


def test_wiring_that_is_not_built_is_refused():
    with pytest.raises(InputError, match=r"Call wiring.build\(features\) first"):
        plots.plot_wiring(AutoNCP(19, 2), "Not built")


# Saving


def predictions_of(case):
    if case == "two classes":
        return *predict_classes(2), "binary", ["malignant", "normal, benign"]
    if case == "fourteen labels":
        return *predict_labels(14), "multi-label", CHEST
    return *predict_classes(11), "multi-class", [f"colorectal adenocarcinoma epithelium {index}" for index in range(11)]


def draw(picture, case):
    given = predictions_of(case)
    if picture == "examples":
        return plots.plot_examples(numbered_images(len(given[0])), *given)
    if picture == "contact_sheet":
        return plots.plot_contact_sheet(numbered_images(len(given[0])), given[0], given[3], count=2)
    return getattr(plots, f"plot_{picture}")(*given)


OTHER_PICTURES = {
    "history": lambda: plots.plot_history(make_history(learning_rate=np.geomspace(1e-2, 1e-5, 5)), 3),
    "history of one epoch": lambda: plots.plot_history(make_history(1), 1),
    "wiring": lambda: plots.plot_wiring(built(AutoNCP(19, 2), 16), "$ costs $"),
    "large wiring": lambda: plots.plot_wiring(built(AutoNCP(60, 5), 400), "A title as long as those of runs " * 4),
}


@pytest.mark.parametrize("case", ["two classes", "eleven classes", "fourteen labels"])
@pytest.mark.parametrize(
    "picture", ["roc", "precision_recall", "confusion", "reliability", "examples", "contact_sheet"]
)
def test_every_picture_of_predictions_is_saved_whole(tmp_path, picture, case):
    check_saved(draw(picture, case), tmp_path)


@pytest.mark.parametrize("picture", OTHER_PICTURES)
def test_every_other_picture_is_saved_whole(tmp_path, picture):
    check_saved(OTHER_PICTURES[picture](), tmp_path)


def check_saved(figure, tmp_path):
    """A PNG of the right size with something on it, of which nothing is cut off at the edge."""
    path = tmp_path / "pictures" / "picture.png"
    plots.save_figure(figure, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        pixels = np.asarray(image.convert("L"))
        np.testing.assert_allclose(image.size, figure.get_size_inches() * 150, atol=1)
    assert path.stat().st_size > 8_000
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 255).all(), "something reaches the edge of the picture"


def test_a_picture_that_fails_to_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "history.png"
    plots.save_figure(plots.plot_history(make_history(), None), path)
    before = path.read_bytes()
    broken = plots.plot_history(make_history(), 2)
    broken.axes[0].set_title(r"$\no_such_command$")
    with pytest.raises(ValueError, match="no_such_command"):
        plots.save_figure(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_does_not_end_in_png_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.png"):
        plots.save_figure(plots.plot_history(make_history(), None), tmp_path / "history.pdf")


def test_importing_is_cheap_and_drawing_touches_nothing_global():
    program = (
        "import sys; from keras_lnn import plots\n"
        "heavy = {'matplotlib', 'sklearn', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "import matplotlib\n"
        # Asking for the backend would itself import pyplot.
        "settings = lambda: {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != 'backend'}\n"
        "before = settings()\n"
        "plots.plot_confusion([0, 1], [.1, .9], 'binary', ['no', 'yes']).savefig(sys.stdout.buffer)\n"
        "assert settings() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
