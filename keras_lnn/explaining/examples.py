"""The samples of a split that show most of a model: those it is most wrong about, typical ones and the best ones."""

from __future__ import annotations

import numpy as np

from keras_lnn.data.arrays import Split
from keras_lnn.data.splitting import take_samples
from keras_lnn.saved.predictor import Predictor, batch_size_for

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
