"""SavedModels: folders that TensorFlow alone loads, from raw images to probabilities and decisions."""

import contextlib
import logging
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.saved.graphs import require_harmless
from keras_lnn.saved.predictor import KerasPredictor, first_line, require_fit
from keras_lnn.saved.serving import ServedPredictor, make_serving, save_serving
from keras_lnn.saved.signature import Signature


def write(predictor: KerasPredictor, folder: Path, samples: SampleRecord | None) -> None:
    """Writes a SavedModel of raw images, in which recurrences are loops."""
    from keras_lnn.backend.programs import plain_graphs

    with plain_graphs(loops=True):
        save_serving(make_serving(predictor, texts=True), folder)


def load(path: Path, signature: Signature) -> ServedPredictor:
    """Loads a SavedModel that only computes."""
    import tensorflow as tf

    require_harmless(path)
    try:
        with _without_gradient_warnings():
            model = tf.saved_model.load(str(path))
        served = model.signatures["serving_default"]
        image_shape = served.structured_input_signature[1]["images"].shape
        output_shape = served.structured_outputs["probabilities"].shape
        model.serve  # noqa: B018, it must be there
    except Exception as error:  # what a damaged graph makes TensorFlow raise has no common class
        raise InputError(
            f"The SavedModel must be whole. Received: {path} ({first_line(error)}). Export it again."
        ) from None
    require_fit(path, signature, image_shape, output_shape)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: value.numpy() for name, value in model.serve(*inputs.values()).items()}

    return ServedPredictor(signature, run)


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
