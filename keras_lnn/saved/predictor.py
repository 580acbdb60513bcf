"""Saved models at work: a run, a ``.keras`` file or an exported folder, from raw images to probabilities or masks."""

import json
import math
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_lnn.config import OwnModules, validate
from keras_lnn.data.arrays import ImageArray
from keras_lnn.errors import InputError, show_value
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.runs.folder import RunFolder
from keras_lnn.runs.own_modules import import_modules
from keras_lnn.saved.graphs import require_harmless
from keras_lnn.saved.signature import Signature, read_signature
from keras_lnn.tasks.task import Task

_MOST_IMAGES, _FEWEST_IMAGES = 256, 16
_PIXELS_A_BATCH = 2**20
_LARGEST_NUMBER = 2**24


def batch_size_for(image_shape: tuple[int, ...]) -> int:
    """Images to a batch outside training: fewer where they are large, since maps and views of them take memory."""
    return max(_FEWEST_IMAGES, min(_MOST_IMAGES, _PIXELS_A_BATCH // math.prod(image_shape[:-1])))


class Predictor(Protocol):
    """A model that is ready to use."""

    signature: Signature

    def predict(self, images: ImageArray) -> np.ndarray:
        """Probabilities (samples, ..., classes) of raw uint8 images, float64; of masks those of each pixel."""
        ...

    def predict_compact(self, images: ImageArray) -> np.ndarray:
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

    def predict_compact(self, images: ImageArray) -> np.ndarray:
        """What is evaluated and written: probabilities, or of masks the likeliest class of each pixel, uint8."""
        return predict_compact(self.model, images, self.signature.get_task())


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
            self._model = tf.saved_model.load(str(folder))
            served = self._model.signatures["serving_default"]
            image_shape = served.structured_input_signature[1]["images"].shape
            output_shape = served.structured_outputs["probabilities"].shape
            self._model.serve  # noqa: B018, it must be there
        except Exception as error:  # what a damaged graph makes TensorFlow raise has no common class
            raise InputError(
                f"The SavedModel must be whole. Received: {folder} ({_first_line(error)}). Export it again."
            ) from None
        _require_fit(folder, signature, image_shape, output_shape)

    def predict(self, images: ImageArray) -> np.ndarray:
        """Probabilities (samples, ..., classes) of raw uint8 images, float64; of masks those of each pixel."""
        return in_batches(images, lambda batch: self._model.serve(batch)["probabilities"].numpy()).astype(np.float64)

    def predict_compact(self, images: ImageArray) -> np.ndarray:
        """What is evaluated and written: probabilities, or of masks the likeliest class of each pixel, uint8."""
        task = self.signature.get_task()
        return in_batches(images, lambda batch: task.read_served(self._model.serve(batch)))


def predict_probabilities(model: Any, images: ImageArray, task: Task) -> np.ndarray:
    """Probabilities of raw uint8 images, float64, by a Keras model that gives logits."""
    from keras import ops

    def one_batch(batch: np.ndarray) -> np.ndarray:
        logits = model.predict_on_batch(batch.astype("float32"))
        return ops.convert_to_numpy(task.probabilities(logits))

    return in_batches(images, one_batch).astype(np.float64)


def predict_compact(model: Any, images: ImageArray, task: Task) -> np.ndarray:
    """What a Keras model is judged by: probabilities of images, or of masks the likeliest class of each pixel, uint8.

    Masks are made batch by batch: the probabilities of all pixels of a set would be some dozen times as large.
    """

    def one_batch(batch: np.ndarray) -> np.ndarray:
        return task.compact(task.probabilities(model.predict_on_batch(batch.astype("float32"))))

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
    model = _load_keras(path)
    shapes = [tensors[0].shape if len(tensors) == 1 else () for tensors in (model.inputs, model.outputs)]
    _require_fit(path, signature, *shapes)
    return KerasPredictor(model, signature)


def _require_fit(path: Path, signature: Signature, image_shape: Sequence, output_shape: Sequence) -> None:
    """Checks that a signature is that of its model.

    Args:
        path: Of the model.
        signature: What it says of itself.
        image_shape: Of a batch of images that the model reads.
        output_shape: Of what it gives for them.
    """
    outputs = signature.get_task().output_shape(signature.image_shape)
    for what, found, said in (("images", image_shape, signature.image_shape), ("outputs", output_shape, outputs)):
        found = tuple(found)
        alike = zip(found[1:], said, strict=False)
        if len(found) - 1 != len(said) or any(side not in (None, wanted) for side, wanted in alike):
            raise InputError(
                f"A model must fit its signature, which says {what} of shape {said}. Received: {path} with"
                f" {found[1:]}. Export it again from its run."
            )


def _require_possible(path: Path) -> None:
    """Checks that the configuration in a ``.keras`` file has no number that only a layer of impossible size has."""

    def check(content: Any, key: str = "") -> None:
        for name, value in content.items() if isinstance(content, dict) else ((key, item) for item in content):
            if isinstance(value, dict | list):
                check(value, name)
            elif isinstance(value, int) and abs(value) > _LARGEST_NUMBER and not name.endswith(("seed", "_id")):
                raise ValueError(f"{name} is {show_value(value)}")

    with zipfile.ZipFile(path) as archive:
        check(json.loads(archive.read("config.json")))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


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
    from keras_lnn.backend import xla_slows_convolutions
    from keras_lnn.layers.ncps_models import ncps_layers_as_ours

    try:
        _require_possible(path)
        with ncps_layers_as_ours():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
            if not isinstance(model, keras.Model) or not model.built:
                raise ValueError(f"a {type(model).__name__}")
            # A model that was not compiled is compiled by XLA otherwise: resnet18 predicts 17 times as fast without.
            if xla_slows_convolutions():
                model.jit_compile = False
            return model
    except Exception as error:  # what a foreign configuration makes Keras raise has no common class
        unknown = re.search(r"Could not locate class '(\w+)'", str(error))
        if unknown:
            raise InputError(
                f"The classes of a model's layers must be known. Received: {path} with {unknown.group(1)}. Name the"
                " module that defines it by --imports."
            ) from None
        raise InputError(f"The model in {path} cannot be loaded in safe mode ({_first_line(error)}).") from None
