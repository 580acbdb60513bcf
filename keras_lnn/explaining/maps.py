"""Maps of where a model looks: how much each pixel counts for what it predicts, by several methods."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.errors import InputError, suggest
from keras_lnn.explaining.attention import grad_cam, layer_cam, visual_back_prop
from keras_lnn.explaining.feature_maps import find_view_axes
from keras_lnn.explaining.pixels import integrated_gradients, occlusion
from keras_lnn.explaining.subject import Subject
from keras_lnn.saved.predictor import KerasPredictor, Predictor, in_batches
from keras_lnn.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Method:
    """A method that makes maps.

    Args:
        make: Function from the subject, a batch of its inputs and the weights of its logits to maps.
        looks_at: What it reads: the ``feature maps`` of convolutions, or the ``pixels``, which any network has.
    """

    make: Callable[[Subject, Sequence[np.ndarray], np.ndarray], np.ndarray]
    looks_at: str


METHODS = {
    "occlusion": Method(occlusion, "pixels"),
    "grad-cam": Method(grad_cam, "feature maps"),
    "layer-cam": Method(layer_cam, "feature maps"),
    "visual-backprop": Method(visual_back_prop, "feature maps"),
    "integrated-gradients": Method(integrated_gradients, "pixels"),
}
# It must work for any network.
DEFAULT_METHOD = "occlusion"


def explain(
    predictor: Predictor, images: ImageArray, method: str = DEFAULT_METHOD, target: int | str | None = None
) -> np.ndarray:
    """Returns maps of how much each pixel counts for what a model predicts.

    What is explained is a logit: that of the class or the label; of two classes, the difference to the other one; for
    segmentation, the sum of the class's logits over the pixels where it is predicted, or over all pixels if it is
    predicted nowhere. Where a model averages over mirror images, so do the maps.

    Args:
        predictor: A Keras model with its signature, as :func:`keras_lnn.saved.predictor.load_predictor` returns it for
            runs and ``.keras`` files.
        images: Raw images or volumes, or series of images.
        method: A name in ``METHODS``.
        target: Name or index of a class or label. If not given: the predicted class of each sample, the most probable
            of several labels, for segmentation the class beside the background with the most predicted pixels.

    Returns:
        (samples, height, width), float32; for volumes and series (samples, depth or frames, height, width). Maps of
        ``integrated-gradients`` and ``occlusion`` are negative where a pixel speaks against the target; the others are
        not negative. Padded frames of series are zero.
    """
    require_methods([method])
    subject = make_subject(predictor)
    place = find_target(subject.task, target)

    def one_batch(*inputs: np.ndarray) -> np.ndarray:
        batch = [values.astype(np.float32) for values in inputs]
        return make_maps(subject, batch, method, subject.weigh(batch, place))

    return in_batches(images, one_batch)


def require_methods(names: Sequence[str]) -> None:
    """Checks that there are methods of these names."""
    for name in names:
        if name not in METHODS:
            raise InputError(f"There is no method {name!r}. {suggest(name, METHODS)}")


def describe_method(name: str) -> str:
    """Returns what a method does and its source, in words: the docstring of its function without its first line.

    Args:
        name: A name in ``METHODS``.
    """
    return " ".join((inspect.getdoc(METHODS[name].make) or "").partition("\n")[2].split())


def make_maps(subject: Subject, inputs: Sequence[np.ndarray], method: str, weights: np.ndarray) -> np.ndarray:
    """Returns maps of one batch; see :func:`explain`.

    Args:
        subject: The network.
        inputs: The images, float32, and for series their times.
        method: A name in ``METHODS``.
        weights: The weight of each logit in what is explained.
    """
    entry = METHODS[method]
    axes = find_view_axes(subject.model) if entry.looks_at == "feature maps" else ()
    subsets = [chosen for size in range(len(axes) + 1) for chosen in itertools.combinations(axes, size)]
    views = []
    for chosen in subsets:
        images = np.flip(inputs[0], chosen) if chosen else inputs[0]
        maps = entry.make(subject, [images, *inputs[1:]], weights)
        views.append(np.flip(maps, chosen) if chosen else maps)
    found = np.asarray(np.mean(views, axis=0), np.float32)
    if len(inputs) > 1:
        found[np.isnan(inputs[1])] = 0
    return found


def make_subject(predictor: Predictor, before_batch: Callable[[], object] | None = None) -> Subject:
    """Returns what is explained of a predictor, which must be a Keras model.

    Args:
        predictor: The predictor.
        before_batch: Called before each batch; ends the work by an error.
    """
    if not isinstance(predictor, KerasPredictor):
        raise InputError(
            f"Explanations need a run or a .keras file. Received: {type(predictor).__name__}. Export with "
            "--format keras."
        )
    signature = predictor.signature
    return Subject(predictor.model, signature.get_task(), signature.thresholds, before_batch)


def find_target(task: Task, target: int | str | None) -> int | None:
    """Returns the index of a class or label that is given by its name or index; None for the predicted one."""
    if target is None or (isinstance(target, int) and 0 <= target < task.outputs):
        return target
    if target in task.class_names:
        return task.class_names.index(str(target))
    raise InputError(
        f"target must be a class or an index from 0 to {task.outputs - 1}. Received: {target}. "
        f"{suggest(str(target), task.class_names)}"
    )
