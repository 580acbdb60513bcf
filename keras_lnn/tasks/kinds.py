"""The table of the kinds of task: adding one is a class in a file of this package and a line here."""

from collections.abc import Iterable, Mapping
from typing import Any

from keras_lnn.errors import InputError
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.classification import BinaryTask, MultiLabelTask, SingleLabelTask
from keras_lnn.tasks.segmentation import SegmentationTask
from keras_lnn.tasks.task import Task

KINDS: dict[str, type[Task]] = {
    "binary": BinaryTask,
    "multi-class": SingleLabelTask,
    "ordinal": SingleLabelTask,
    "multi-label": MultiLabelTask,
    "segmentation": SegmentationTask,
}


def make_task(kind: str, class_names: Iterable[str], calibration: Calibration | None = None) -> Task:
    """Returns the task of a kind.

    Args:
        kind: ``binary``, ``multi-class``, ``ordinal``, ``multi-label`` or ``segmentation``.
        class_names: One name for each class or label.
        calibration: What is done to the logits of a model before they become probabilities; None for nothing.
    """
    if kind not in KINDS:
        *others, last = KINDS
        raise InputError(
            f"A model's task must be {', '.join(others)} or {last}. Received: {kind}. Choose data for one of these."
        )
    return KINDS[kind](kind, tuple(class_names), calibration)


def find_kind(kind: str | None) -> type[Task]:
    """Returns the class of a kind; that of a single label where an older version has not written the kind down."""
    return SingleLabelTask if kind is None else KINDS[kind]


def find_kind_of(metrics: Mapping[str, Any]) -> type[Task]:
    """Returns the class of the kind whose metrics these are, also where an older version has not written the kind down.

    Args:
        metrics: Content of a metrics.json.
    """
    known = metrics.get("task")
    if known is None and "dice" in metrics["val"]:
        return SegmentationTask
    return find_kind(known)


def list_forms() -> list[str]:
    """Returns the forms of output that a model can have, as models are registered by them."""
    return list(dict.fromkeys(task.predicts for task in KINDS.values()))


def list_monitors(predicts: str | None = None) -> list[str]:
    """Returns the values of each epoch by which a model can be judged.

    Args:
        predicts: What the model gives a class to, as it is registered; None for all values of all models.
    """
    return list(dict.fromkeys(name for task in _tasks_predicting(predicts) for name in task.monitors))


def list_calibrations(predicts: str) -> list[str]:
    """Returns the methods by which every task of a model can be calibrated; ``predicts`` as before."""
    (first, *others) = _tasks_predicting(predicts)
    return [name for name in first.calibrations if all(name in task.calibrations for task in others)]


def list_defaults(predicts: str) -> dict[str, Any]:
    """Returns what tasks add to the defaults of a configuration, by the field; ``predicts`` as before."""
    return {name: value for task in _tasks_predicting(predicts) for name, value in task.defaults.items()}


def list_search_ranges(predicts: str) -> dict[str, tuple[Any, ...]]:
    """Returns what tasks let a search choose from in the place of its own ranges; ``predicts`` as before."""
    return {name: values for task in _tasks_predicting(predicts) for name, values in task.search_ranges.items()}


def _tasks_predicting(predicts: str | None) -> list[type[Task]]:
    return [task for task in KINDS.values() if predicts in (None, task.predicts)]
