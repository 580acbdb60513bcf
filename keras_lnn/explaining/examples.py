"""The samples of a split that show most of a model: those it is most wrong about, typical ones and the best ones."""

from __future__ import annotations

import math

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.data.splitting import take_samples
from keras_lnn.explaining.explanations import Explained, explain_samples
from keras_lnn.explaining.maps import DEFAULT_METHOD
from keras_lnn.explaining.pixels import count_windows
from keras_lnn.saved.predictor import KerasPredictor, Predictor, batch_size_for
from keras_lnn.saved.signature import Signature

KINDS = ("worst", "typical", "best")
# So many are explained in the report of a run.
IN_A_REPORT = 6
# In a report maps may take as many predictions as six images of 64 x 64 pixels do, by networks of so many parameters.
_MOST_PIXELS, _MOST_PARAMETERS = 6 * 14**2 * 64**2, 1_000_000


def are_cheap(signature: Signature) -> bool:
    """Returns whether the maps of a few images take little of the time of a training; never of volumes and series.

    Args:
        signature: Of the model.
    """
    shape = signature.image_shape
    if len(shape) != 3:
        return False
    pixels = IN_A_REPORT * count_windows(shape, is_series=False) * math.prod(shape[:-1])
    return pixels <= _MOST_PIXELS and signature.parameters <= _MOST_PARAMETERS


def explain_examples(predictor: KerasPredictor, split: Split, probabilities: np.ndarray) -> list[Explained]:
    """Returns the worst, typical and best examples of a split with their maps by the default method.

    Args:
        predictor: The model.
        split: The samples with their labels.
        probabilities: What the model predicts for them.
    """
    task = predictor.signature.get_task()
    rows, why = spread_over(task.truth_probabilities(split.labels, probabilities), IN_A_REPORT)
    chosen = take_samples(split, rows)
    truths = [task.describe_label(label) for label in chosen.labels]
    names = chosen.names or [f"#{row}" for row in rows]
    return explain_samples(predictor, chosen.images, names, (DEFAULT_METHOD,), truths=truths, why=why)


def choose_examples(predictor: Predictor, split: Split, count: int) -> tuple[np.ndarray, list[str]]:
    """Returns which samples' truth a model found least, middling and most probable, and which of these each is.

    Args:
        predictor: The model.
        split: The samples with their labels.
        count: How many to choose, at most; as many of each kind as possible.
    """
    task, size = predictor.signature.get_task(), batch_size_for(split.images.shape[1:])
    found = []
    for start in range(0, len(split), size):
        part = take_samples(split, np.arange(start, min(start + size, len(split))))
        found.append(task.truth_probabilities(part.labels, predictor.predict(part.images)))
    return spread_over(np.concatenate(found), count)


def spread_over(values: np.ndarray, count: int) -> tuple[np.ndarray, list[str]]:
    """Returns the places of the lowest, the middle and the highest values, each once, and which of these each is.

    Args:
        values: One value per sample.
        count: How many to choose, at most.
    """
    order = np.argsort(values, kind="stable")
    count = min(count, len(order))
    sizes = [count // 3 + (place < count % 3) for place in range(3)]
    middle = np.clip((len(order) - sizes[1]) // 2, sizes[0], len(order) - sizes[2] - sizes[1])
    chosen = [order[: sizes[0]], order[middle : middle + sizes[1]], order[len(order) - sizes[2] :][::-1]]
    return np.concatenate(chosen), [kind for kind, size in zip(KINDS, sizes, strict=True) for _ in range(size)]
