"""SavedModels: folders that TensorFlow alone loads, from raw images to probabilities and decisions."""

import contextlib
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.backend import plain_graphs
from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import write_json
from keras_lnn.saved.graphs import require_harmless
from keras_lnn.saved.predictor import KerasPredictor, first_line, in_batches, require_fit
from keras_lnn.saved.signature import SAMPLES_FILE, Signature


def write(predictor: KerasPredictor, folder: Path, samples: SampleRecord | None) -> None:
    """Writes a SavedModel of raw images, with the samples that it learned from beside it."""
    import tensorflow as tf

    model, signature = predictor.model, predictor.signature
    task = signature.get_task()

    def serve(images: Any, times: Any = None, lengths: Any = None) -> dict[str, Any]:
        inputs = tf.cast(images, tf.float32)
        if signature.time_unit is not None:
            inputs = [inputs, tf.where(tf.sequence_mask(lengths, tf.shape(times)[1]), times, float("nan"))]
        logits = model(inputs, training=False)
        probabilities = task.probabilities(logits)
        decision = task.serve(probabilities, signature.thresholds)
        decision |= signature.find_promised(probabilities)
        return {"probabilities": probabilities, **decision, "class_names": tf.constant(signature.class_names)}

    # keras.export.ExportArchive would write every weight twice.
    module: Any = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    shape = (None, *signature.image_shape)
    specs = [tf.TensorSpec(shape, tf.uint8, name="images")]
    if signature.time_unit is not None:
        specs += [tf.TensorSpec(shape[:2], tf.float32, name="times"), tf.TensorSpec((None,), tf.int32, name="lengths")]
    module.serve = tf.function(serve, input_signature=specs)
    with plain_graphs(loops=True):
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    if samples is not None:
        write_json(folder / SAMPLES_FILE, samples.to_json())


def load(path: Path, signature: Signature) -> "SavedModelPredictor":
    """Loads a SavedModel that only computes."""
    return SavedModelPredictor(path, signature)


class SavedModelPredictor:
    """An exported SavedModel with its signature.

    Args:
        folder: The exported folder.
        signature: What it is.
    """

    def __init__(self, folder: Path, signature: Signature) -> None:
        import tensorflow as tf

        self.signature = signature
        require_harmless(folder)
        try:
            with _without_gradient_warnings():
                self._model = tf.saved_model.load(str(folder))
            served = self._model.signatures["serving_default"]
            image_shape = served.structured_input_signature[1]["images"].shape
            output_shape = served.structured_outputs["probabilities"].shape
            self._model.serve  # noqa: B018, it must be there
        except Exception as error:  # what a damaged graph makes TensorFlow raise has no common class
            raise InputError(
                f"The SavedModel must be whole. Received: {folder} ({first_line(error)}). Export it again."
            ) from None
        require_fit(folder, signature, image_shape, output_shape)

    def predict(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities (samples, ..., classes) of raw uint8 images as float64, for segmentation per pixel."""
        return in_batches(images, lambda *batch: self._serve(*batch)["probabilities"].numpy()).astype(np.float64)

    def predict_compact(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities, or for segmentation the most probable class of each pixel as uint8."""
        task = self.signature.get_task()
        return in_batches(images, lambda *batch: task.read_served(self._serve(*batch)))

    def _serve(self, images: np.ndarray, times: np.ndarray | None = None) -> Any:
        if times is None:
            return self._model.serve(images)
        is_frame = np.isfinite(times)
        return self._model.serve(images, np.where(is_frame, times, 0), is_frame.sum(axis=1).astype(np.int32))


@contextlib.contextmanager
def _without_gradient_warnings() -> Generator[None]:
    """Suppresses the warning that liquid layers have gradients of their own: a SavedModel is only called."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
