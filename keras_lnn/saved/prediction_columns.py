"""The columns of a table of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.saved.signature import Signature
from keras_lnn.tasks.prediction_sets import name_sets

COLUMNS, PROBABILITY = ["file", "predicted"], "probability "
# What follows the prediction where the model has prediction sets or refers to a human.
PROMISED = ("set", "refer")
# What follows the probabilities of series.
OF_SERIES = ("frames", "first time (", "last time (")
# The share of the validation images that are at least as far from the training images, where this was asked for.
LIKENESS = "likeness"


def tabulate_predictions(
    names: Sequence[str], probabilities: np.ndarray, signature: Signature, likeness: np.ndarray | None = None
) -> pd.DataFrame:
    """Returns one row per sample: its name, what is predicted, and a column of probabilities for each class.

    Models with prediction sets have a column ``set`` before the probabilities, such as ``benign|malignant``, and models
    that refer to a human a column ``refer``, which is true or false.

    Args:
        names: Name of each sample.
        probabilities: (samples, classes or labels).
        signature: Of the model.
        likeness: How like the training images each sample is, for a column after what is predicted; None for none.
    """
    task = signature.get_task()
    predicted = task.name_decision(task.decide(probabilities, signature.thresholds))
    columns = dict(zip(COLUMNS, (list(names), predicted), strict=True))
    columns |= name_promised(signature.find_promised(probabilities), signature.class_names)
    columns |= {} if likeness is None else {LIKENESS: likeness}
    of_classes = {PROBABILITY + name: probabilities[:, place] for place, name in enumerate(signature.class_names)}
    return pd.DataFrame(columns | of_classes)


def name_promised(promised: Mapping[str, np.ndarray], class_names: Sequence[str]) -> dict[str, Any]:
    """Returns the columns ``set`` and ``refer``, where a model has prediction sets or refers to a human.

    Args:
        promised: What :meth:`~keras_lnn.saved.signature.Signature.find_promised` returns.
        class_names: One name for each class.
    """
    columns: dict[str, Any] = {}
    if "set" in promised:
        columns["set"] = name_sets(promised["set"], class_names)
    if "refer" in promised:
        columns["refer"] = promised["refer"]
    return columns


def insert_promised(table: pd.DataFrame, probabilities: np.ndarray, signature: Signature) -> pd.DataFrame:
    """Returns a run's table of predictions with the columns ``set`` and ``refer`` before the probabilities.

    Args:
        table: One row per sample.
        probabilities: (samples, classes).
        signature: Of the model.
    """
    place = next((place for place, name in enumerate(table) if name.startswith(PROBABILITY)), len(table.columns))
    for name, values in reversed(name_promised(signature.find_promised(probabilities), signature.class_names).items()):
        table.insert(place, name, values)
    return table
