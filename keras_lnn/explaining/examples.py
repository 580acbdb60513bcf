"""The samples of a split that show most of a model: those it is most wrong about, typical ones and the best ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.data.splitting import take_samples
from keras_lnn.explaining.explanations import Explained, explain_samples
from keras_lnn.explaining.maps import DEFAULT_METHOD, choose_method
from keras_lnn.saved.predictor import KerasPredictor, Predictor, batch_size_for
from keras_lnn.saved.signature import Signature

# Samples in the report of a run.
_SHOWN = 8
KINDS = ("worst", "typical", "best")


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


def explain_examples(model: Any, split: Split, predicted: np.ndarray, signature: Signature) -> list[Explained]:
    """Returns a few samples with their maps by the default method; none for a network that has no such maps.

    Args:
        model: The Keras model.
        split: The samples.
        predicted: What the model predicts for them, as its task keeps it.
        signature: Of the model.
    """
    predictor = KerasPredictor(model, signature)
    if choose_method(predictor) != DEFAULT_METHOD:
        return []
    task, why = signature.get_task(), None
    if predicted.dtype.kind == "f":
        rows, why = spread_over(task.truth_probabilities(split.labels, predicted), _SHOWN)
    else:  # the classes of all pixels, without their probabilities
        rows = np.unique(np.linspace(0, len(split) - 1, _SHOWN).round().astype(int))
    chosen = take_samples(split, rows)
    truths = [task.describe_label(label) for label in chosen.labels]
    names = [str(row) for row in rows]
    return explain_samples(predictor, chosen.images, names, [DEFAULT_METHOD], truths=truths, why=why)


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
