"""Saved models at work: a run, a ``.keras`` file or an exported folder, from raw images to probabilities or masks."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_lnn.config import OwnModules, read_yaml, validate
from keras_lnn.data.arrays import ImageArray
from keras_lnn.errors import InputError
from keras_lnn.own_modules import import_modules
from keras_lnn.run import RunFolder
from keras_lnn.signature import Signature, read_signature
from keras_lnn.tasks import Task

_MOST_IMAGES, _FEWEST_IMAGES = 256, 16
_PIXELS_A_BATCH = 2**20


def batch_size_for(image_shape: tuple[int, ...]) -> int:
    """Images to a batch outside training: fewer where they are large, since maps and views of them take memory."""
    return max(_FEWEST_IMAGES, min(_MOST_IMAGES, _PIXELS_A_BATCH // math.prod(image_shape[:-1])))


class Predictor(Protocol):
    """A model that is ready to use."""

    signature: Signature

    def predict(self, images: ImageArray) -> np.ndarray:
        """Probabilities (samples, ..., classes) of raw uint8 images, float64; of masks those of each pixel."""
        ...

    def answer(self, images: ImageArray) -> np.ndarray:
        """What is evaluated and written: probabilities, or of masks the likeliest class of each pixel, uint8."""
        ...


class KerasPredictor:
    """A Keras model with its signature.

    Args:
        model: From pixel values to logits.
        signature: What it is.
    """

    def __init__(self, model: Any, signature: Signature) -> None:
        self.model = model
        self.signature = signature

    def predict(self, images: ImageArray) -> np.ndarray:
        """Probabilities (samples, ..., classes) of raw uint8 images, float64; of masks those of each pixel."""
        return predict_probabilities(self.model, images, self.signature.get_task())

    def answer(self, images: ImageArray) -> np.ndarray:
        """What is evaluated and written: probabilities, or of masks the likeliest class of each pixel, uint8."""
        return predict_answers(self.model, images, self.signature.get_task())


class SavedModelPredictor:
    """An exported SavedModel with its signature.

    Args:
        folder: The exported folder.
        signature: What it is.
    """

    def __init__(self, folder: Path, signature: Signature) -> None:
        import tensorflow as tf

        self.signature = signature
        try:
            self._model = tf.saved_model.load(str(folder))
        except (OSError, IndexError, tf.errors.OpError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"The SavedModel must be whole. Received: {folder} ({reason}). Export it again.") from None

    def predict(self, images: ImageArray) -> np.ndarray:
        """Probabilities (samples, ..., classes) of raw uint8 images, float64; of masks those of each pixel."""
        return in_batches(images, lambda batch: self._model.serve(batch)["probabilities"].numpy()).astype(np.float64)

    def answer(self, images: ImageArray) -> np.ndarray:
        """What is evaluated and written: probabilities, or of masks the likeliest class of each pixel, uint8."""
        if not self.signature.get_task().has_masks:
            return self.predict(images)
        return in_batches(images, lambda batch: self._model.serve(batch)["mask"].numpy())


def predict_probabilities(model: Any, images: ImageArray, task: Task) -> np.ndarray:
    """Probabilities of raw uint8 images, float64, by a Keras model that gives logits."""
    from keras import ops

    def one_batch(batch: np.ndarray) -> np.ndarray:
        logits = model.predict_on_batch(batch.astype("float32"))
        return ops.convert_to_numpy(task.probabilities(logits))

    return in_batches(images, one_batch).astype(np.float64)


def predict_answers(model: Any, images: ImageArray, task: Task) -> np.ndarray:
    """What a Keras model is judged by: probabilities of images, or of masks the likeliest class of each pixel, uint8.

    Masks are made batch by batch: the probabilities of all pixels of a set would be some dozen times as large.
    """
    if not task.has_masks:
        return predict_probabilities(model, images, task)
    from keras import ops

    def one_batch(batch: np.ndarray) -> np.ndarray:
        probabilities = task.probabilities(model.predict_on_batch(batch.astype("float32")))
        return ops.convert_to_numpy(task.decide(probabilities)).astype(np.uint8)

    return in_batches(images, one_batch)


def in_batches(images: ImageArray, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Applies a function to one batch after the other."""
    size = batch_size_for(images.shape[1:])
    parts = [predict(np.ascontiguousarray(images[start : start + size])) for start in range(0, len(images), size)]
    return np.concatenate(parts)


def find_model(name: str | Path) -> Path:
    """The file or folder of a model: a path, a run (its best model) or a name in ``saved_models/``."""
    for path in _places(name):
        if (path / "config.yaml").is_file():
            best = RunFolder(path).best_model
            if not best.is_file():
                raise InputError(f"A run must be complete to be used. Received: {path}. Go on with --resume {path}.")
            return best
        exported = sorted(path.glob("*.keras")) if path.is_dir() else []
        if exported:
            return exported[0]
        if path.exists():
            return path
    raise InputError(f"A model must be a path or a name in saved_models/. Received: {name}, which is not there.")


def load_model(name: str | Path) -> Any:
    """Loads a Keras model that this package has saved, in safe mode: nothing in the file is run.

    Own modules are imported where a run's configuration names them; for other files, import them before.

    Args:
        name: A run, a ``.keras`` file, an exported folder that holds one, or a name in ``saved_models/``.
    """
    path = find_model(name)
    _import_modules_of_run(name)
    read_signature(path)
    if path.is_dir():
        raise InputError(
            f"This needs a .keras file or a run. Received: {path}, a SavedModel. Export with --format keras."
        )
    return _load_keras(path)


def load_predictor(name: str | Path) -> Predictor:
    """Loads whatever this package has saved, ready to predict.

    Own modules are imported as in :func:`load_model`.

    Args:
        name: A run, a ``.keras`` file, an exported folder, or a name in ``saved_models/``.
    """
    path = find_model(name)
    _import_modules_of_run(name)
    signature = read_signature(path)
    if path.is_dir():
        return SavedModelPredictor(path, signature)
    return KerasPredictor(_load_keras(path), signature)


def _places(name: str | Path) -> tuple[Path, ...]:
    return Path(name), Path("saved_models") / name


def _import_modules_of_run(name: str | Path) -> None:
    """Imports the own modules that a run was trained with; without a readable configuration there are none."""
    for path in _places(name):
        if (path / "config.yaml").is_file():
            try:
                modules = validate(OwnModules, {"imports": read_yaml(path / "config.yaml").get("imports", ())})
            except InputError:
                return
            import_modules(modules.imports)
            return


def _load_keras(path: Path) -> Any:
    import keras

    import keras_lnn.layers
    import keras_lnn.losses  # noqa: F401  the layers and losses must be known by name
    from keras_lnn.ncps_models import ncps_layers_as_ours

    try:
        with ncps_layers_as_ours():
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        unknown = re.search(r"Could not locate class '(\w+)'", str(error))
        if unknown:
            raise InputError(
                f"The classes of a model's layers must be known. Received: {path} with {unknown.group(1)}. Name the"
                " module that defines it by --imports."
            ) from None
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"The model in {path} cannot be loaded in safe mode ({reason}).") from None
