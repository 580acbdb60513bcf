"""The samples that a model is most wrong about, read from its table of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_lnn.plots.arguments import Predictions, check_predictions
from keras_lnn.tasks.prediction_tables import SampleNames, read_measures, read_probabilities

# One case is a text for each column, by its name.
Cases = list[dict[str, str]]
# The probability of what is predicted, or of a label.
PROBABILITY = "probability"


def find_wrong_predictions(
    path: Path,
    split_name: str,
    kind: str,
    class_names: Sequence[str],
    thresholds: Sequence[float] | None,
    count: int,
) -> Cases:
    """Returns the surest wrong predictions; for several labels the labels that are most surely wrong.

    Args:
        path: A ``predictions.csv``.
        split_name: The split whose samples are looked at.
        kind: The kind of the task.
        class_names: One name for each class or label.
        thresholds: By which decisions are made; None for one half.
        count: At most so many cases.
    """
    truth, probabilities, names, _ = read_probabilities(path, split_name, class_names)
    found = check_predictions(truth, probabilities, kind, class_names, thresholds)
    wrong = np.argwhere(found.predicted != found.truth)
    wrong = wrong[np.argsort(-found.sureness[tuple(wrong.T)], kind="stable")][:count]
    describe = _describe_label if found.is_multi_label else _describe_class
    return [_name(names, row) | describe(found, row, *label) for row, *label in wrong.tolist()]


def find_worst_masks(path: Path, split_name: str, class_names: Sequence[str], count: int) -> Cases:
    """Returns the images with the lowest mean Dice, and the Dice of each class; arguments as before.

    Args:
        path: A ``predictions.csv``.
        split_name: The split whose images are looked at.
        class_names: The classes without the background.
        count: At most so many images.
    """
    measures, names = read_measures(path, split_name, class_names)
    mean, dice = measures.mean_dice(), measures.dice
    order = [row for row in np.argsort(mean, kind="stable").tolist() if not np.isnan(mean[row])]
    return [
        _name(names, row)
        | {"mean Dice": _number(mean[row])}
        | {f"Dice of {name}": _number(value) for name, value in zip(class_names, dice[row], strict=True)}
        for row in order[:count]
    ]


def _describe_class(found: Predictions, row: int) -> dict[str, str]:
    truth, predicted = found.class_names[found.truth[row]], found.class_names[found.predicted[row]]
    return {"truth": truth, "predicted": predicted, PROBABILITY: _number(found.confidence[row])}


def _describe_label(found: Predictions, row: int, label: int) -> dict[str, str]:
    truth = ("absent", "present")[found.truth[row, label]]
    return {"label": found.class_names[label], "truth": truth, PROBABILITY: _number(found.confidence[row, label])}


def _name(names: SampleNames, row: int) -> dict[str, str]:
    named = {"image": names.files[row] if names.files else f"#{row}"}
    return named if names.groups is None else named | {"patient": names.groups[row]}


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
