"""Sheets of images: sure and wrong predictions of a model, and examples of each class of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn.data.arrays import name_samples
from keras_lnn.errors import InputError
from keras_lnn.plots.arguments import Predictions, check_images, check_indices, check_predictions
from keras_lnn.plots.sheet import Block, draw_sheet
from keras_lnn.plots.style import BLUE, VERMILLION, shorten_name, wrap_name
from keras_lnn.plots.views import Caption, view_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLE_INCHES, CONTACT_INCHES = 1.3, 0.8
CAPTION_WIDTH = 22


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of example.

    Args:
        title: Name of the kind.
        samples: Indices of the images, the clearest examples first.
        labels: The label that each image illustrates, where the task is multi-label.
        note: Text to show where there are no examples.
    """

    title: str
    samples: np.ndarray
    labels: np.ndarray
    note: str


def plot_examples(
    images: Any,
    truth: Any,
    probabilities: Any,
    task: str,
    class_names: Sequence[str],
    names: Sequence[str] | None = None,
    count: int | None = None,
    seed: int = 0,
    thresholds: Sequence[float] | None = None,
) -> Figure:
    """Draws the images with the surest correct, the least sure and the surest wrong predictions.

    Where an image has several labels, the rows show the labels found most surely, the labels nearest to their
    thresholds and the surest wrong labels, with each image once in a row.

    Args:
        images: uint8 (samples, height, width, channels), or volumes (samples, depth, height, width, channels), of which
            the middle slice is drawn; 1 or 3 channels. Of series, the frames are drawn in a row with their times.
        truth: Class indices (samples,), or 0/1 (samples, labels).
        probabilities: (samples, classes or labels); for two classes also (samples,) of class 1.
        task: ``binary``, ``multi-class``, ``ordinal`` or ``multi-label``.
        class_names: One name per class or label.
        names: Caption of each image, such as its file name; None means its position.
        count: Number of images of each kind; 8 if not given, 3 for series.
        seed: Seed for the choice between images of equal probability.
        thresholds: Decision thresholds of two classes or of several labels; 0.5 if not given.

    Returns:
        The figure.

    Raises:
        InputError: If the arguments do not fit together.
    """
    predictions = check_predictions(truth, probabilities, task, class_names, thresholds)
    total = check_images(images)
    if total != len(predictions.truth) or (names is not None and len(names) != total):
        raise InputError(
            "images, truth and names must have the same length. Received: "
            f"{total}, {len(predictions.truth)}, {total if names is None else len(names)}. Give those of one split."
        )
    view = view_samples(images)
    count = view.of_a_kind if count is None else count
    if count < 1:
        raise InputError(f"count must be at least 1. Received: {count}. Ask for at least one image of each kind.")
    choose = _choose_labels if predictions.is_multi_label else _choose
    blocks = [
        Block(row.title, view.cells(row.samples, _captions(row, predictions, names)), row.note)
        for row in choose(predictions, count, seed, view.noun)
    ]
    heading = f"Examples among {total} {name_samples(images)}{view.note} (blue: right, orange: wrong)"
    return draw_sheet(heading, blocks, view.inches(EXAMPLE_INCHES))


def plot_contact_sheet(
    images: Any,
    labels: Any,
    class_names: Sequence[str],
    count: int = 16,
    title: str = "",
    most_classes: int | None = None,
) -> Figure:
    """Draws examples of each class of a data set, spread evenly over it.

    Args:
        images: uint8 (samples, height, width, channels), or volumes (samples, depth, height, width, channels), of which
            the middle slice is drawn; 1 or 3 channels. Of series, the frames are drawn in a row with their times.
        labels: Class indices (samples,), or 0/1 (samples, labels); an image with several labels appears under each.
        class_names: One name per class or label.
        count: Number of images of each class.
        title: Beginning of the heading, before the number of images.
        most_classes: At most so many classes are shown, the first ones; all if not given.

    Returns:
        The figure.

    Raises:
        InputError: If the arguments do not fit together.
    """
    class_names = [str(name) for name in class_names]
    total, labels = check_images(images), np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1 and len(class_names) > 1:
        labels = labels[:, 0]
    if labels.shape not in ((total,), (total, len(class_names))):
        raise InputError(
            f"labels must be one index, or one 0/1 for each of {len(class_names)} names, to each of {total} images. "
            f"Received: {labels.shape}. Give those of one split."
        )
    if count < 1:
        raise InputError(f"count must be at least 1. Received: {count}. Ask for at least one image of each class.")
    labels = check_indices(labels, len(class_names) if labels.ndim == 1 else 2)
    members = [
        np.flatnonzero(labels[:, index] if labels.ndim == 2 else labels == index) for index in range(len(class_names))
    ]
    view, blocks = view_samples(images), []
    for name, indices in list(zip(class_names, members, strict=True))[:most_classes]:
        spread = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(np.int64)
        cells = view.cells(indices[spread])
        blocks.append(Block(f"{name} ({len(indices)} of {total})", cells, "no image has this label"))
    heading = f"{title or 'Examples of each class'}: {total} {name_samples(images)}{view.note}"
    heading += f", {len(blocks)} of {len(class_names)} classes" if len(blocks) < len(class_names) else ""
    return draw_sheet(heading, blocks, view.inches(CONTACT_INCHES))


def _choose(predictions: Predictions, count: int, seed: int, noun: str) -> list[Row]:
    sureness = predictions.sureness
    right = predictions.predicted == predictions.truth
    shuffled = np.random.default_rng(seed).permutation(len(sureness))
    falling = shuffled[np.argsort(-sureness[shuffled], kind="stable")]
    surest_right, surest_wrong = falling[right[falling]][:count], falling[~right[falling]][:count]
    least_sure = falling[::-1][:count]
    wrong, none = int((~right).sum()), np.array([], dtype=np.int64)
    return [
        Row(
            f"Most confident correct (of {int(right.sum())} right)",
            surest_right,
            none,
            f"no {noun} is classified correctly",
        ),
        Row("Least confident (right or wrong)", least_sure, none, ""),
        Row(f"Most confident wrong (of {wrong} wrong)", surest_wrong, none, f"no {noun} is misclassified"),
    ]


def _choose_labels(predictions: Predictions, count: int, seed: int, noun: str) -> list[Row]:
    truth = predictions.truth.ravel()
    labels = len(predictions.class_names)
    shuffled = np.random.default_rng(seed).permutation(len(truth))
    falling = shuffled[np.argsort(-predictions.sureness.ravel()[shuffled], kind="stable")]
    right = predictions.predicted.ravel() == truth
    found, wrong = falling[(right & (truth == 1))[falling]], falling[~right[falling]]
    rows = []
    for title, pairs, note in (
        (f"Most confident found labels (of {len(found)} found)", found, "no present label was found"),
        ("Least confident labels (right or wrong)", falling[::-1], ""),
        (f"Most confident wrong labels (of {len(wrong)} wrong)", wrong, "no label is wrong"),
    ):
        _, first = np.unique(pairs // labels, return_index=True)
        pairs = pairs[np.sort(first)][:count]
        rows.append(Row(title, pairs // labels, pairs % labels, note))
    return rows


def _captions(row: Row, predictions: Predictions, names: Sequence[str] | None) -> list[Caption]:
    """Returns the captions above and below each image of a row, and the colour that marks it as right or wrong."""
    captions = []
    for position, sample in enumerate(row.samples):
        above = f"#{sample}" if names is None else name_file(str(names[sample]))
        if predictions.is_multi_label:
            label = row.labels[position]
            truth, predicted = predictions.truth[sample, label], predictions.predicted[sample, label]
            lines = [predictions.class_names[label], f"truth: {('absent', 'present')[truth]}"]
            last = f"p(present) = {predictions.probabilities[sample, label]:.3f}"
        else:
            truth, predicted = predictions.truth[sample], predictions.predicted[sample]
            lines = [f"truth: {predictions.class_names[truth]}", f"predicted: {predictions.class_names[predicted]}"]
            last = f"p(predicted) = {predictions.probabilities[sample, predicted]:.3f}"
        below = "\n".join([*(wrap_name(line, CAPTION_WIDTH, 4) for line in lines), last])
        captions.append((above, below, BLUE if truth == predicted else VERMILLION))
    return captions


def name_file(name: str) -> str:
    """Returns the caption of a file: its name on one or two lines, as names of one data set often differ in the middle.

    Args:
        name: Path of the file.
    """
    name = PurePath(name).name
    half = -(-len(name) // 2) if len(name) > CAPTION_WIDTH else len(name)
    return "\n".join(shorten_name(part, CAPTION_WIDTH) for part in (name[:half], name[half:]) if part)
