"""The leading metric of several models on the samples of one split, so that their differences can be tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.comparing.compared_run import RunKind
from keras_lnn.data.arrays import Split
from keras_lnn.statistics.measurements import Measurement
from keras_lnn.tasks.task import Task


def measure_on_split(
    task: Task, split: Split, predicted: Sequence[np.ndarray]
) -> tuple[list[Measurement], Callable[[np.ndarray], float]]:
    """Returns the leading metric of each model, and a function that gives the degrees of freedom of deviations.

    Args:
        task: What the models have learned.
        split: The samples.
        predicted: What each model predicts for them, as :meth:`Task.compact` returns it.
    """
    measure = RunKind.of(type(task)).measure_split
    if measure is None:
        found = [task.measure_with_deviations(split, one)[task.leading] for one in predicted]
        return found, lambda deviations: float(max(len(deviations) - 1, 1))
    return measure(task.leading, task, split, predicted)
