"""Saved models at work: a run, a ``.keras`` file or an exported folder, from raw images to probabilities or masks."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray, network_inputs
from keras_lnn.errors import InputError
from keras_lnn.fields.options import OwnModules
from keras_lnn.fields.values import validate
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.runs.finding import FOLDS_FILE
from keras_lnn.runs.folder import RunFolder
from keras_lnn.runs.own_modules import import_modules
from keras_lnn.saved.formats import FORMATS, find_format
from keras_lnn.saved.signature import SIGNATURE_FILE, Signature, read_signature
from keras_lnn.tasks.task import Task

_MOST_IMAGES, _FEWEST_IMAGES = 256, 16
_PIXELS_A_BATCH = 2**20


def batch_size_for(image_shape: tuple[int, ...]) -> int:
    """Returns the batch size outside training, smaller for large images, whose maps and views take memory."""
    return max(_FEWEST_IMAGES, min(_MOST_IMAGES, _PIXELS_A_BATCH // math.prod(image_shape[:-1])))


class Predictor(Protocol):
    """A model that is ready to use."""

    signature: Signature

    def predict(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities (samples, ..., classes) of raw uint8 images as float64, for segmentation per pixel."""
        ...

    def predict_compact(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities, or for segmentation the most probable class of each pixel as uint8."""
        ...


class KerasPredictor:
    """A Keras model with its signature.

    Args:
        model: The Keras model, which maps pixel values to logits.
        signature: The signature of the model.
    """

    def __init__(self, model: Any, signature: Signature) -> None:
        self.model = model
        self.signature = signature

    def predict(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities (samples, ..., classes) of raw uint8 images as float64, for segmentation per pixel."""
        return predict_probabilities(self.model, images, self.signature.get_task())

    def with_steps(self, steps: int) -> "KerasPredictor":
        """Returns the same model for series of up to another number of frames: built again, with the same weights."""
        from keras_lnn.registry import build_model

        known, outputs = self.signature, self.model.output_shape[-1]
        if known.ensemble is not None:
            raise InputError(
                f"Only a single model can be built again for longer series. Received: an ensemble, for {steps} instead"
                f" of {known.image_shape[0]} frames. Leave out --max-steps, and they are thinned."
            )
        image_shape = (steps, *known.image_shape[1:])
        model: Any = build_model(known.model, image_shape, outputs, **known.model_args)
        weights = self.model.get_weights()
        if [one.shape for one in model.get_weights()] != [one.shape for one in weights]:
            raise InputError(
                f"A model that reads longer series must not have weights for each of its steps. Received: {known.model}"
                f" for {steps} instead of {known.image_shape[0]} frames. Leave out --max-steps, and they are thinned."
            )
        model.set_weights(weights)
        model.jit_compile = self.model.jit_compile
        return KerasPredictor(model, dataclasses.replace(known, image_shape=image_shape))

    def predict_compact(self, images: ImageArray) -> np.ndarray:
        """Returns probabilities, or for segmentation the most probable class of each pixel as uint8."""
        return predict_compact(self.model, images, self.signature.get_task())


def read_as_steps(predictor: Predictor, steps: int) -> Predictor:
    """Returns a model of series as one for series of up to another number of frames, with the same weights."""
    if steps == predictor.signature.image_shape[0]:
        return predictor
    if not isinstance(predictor, KerasPredictor):
        raise InputError(
            f"Only a run or a .keras file reads series of another number of frames. Received: {steps} frames for an"
            f" exported model of {predictor.signature.image_shape[0]}. Leave out --max-steps, and they are thinned."
        )
    return predictor.with_steps(steps)


def predict_logits(
    model: Any, images: ImageArray, thin: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Returns the logits of raw uint8 images as float32, without any calibration.

    Args:
        model: The Keras model.
        images: The images.
        thin: Chooses what is kept of the logits of a batch; None for all.
    """
    from keras import ops

    def one_batch(*inputs: np.ndarray) -> np.ndarray:
        logits = ops.convert_to_numpy(ops.cast(_predict_on_batch(model, inputs), "float32"))
        return logits if thin is None else thin(logits)

    return in_batches(images, one_batch)


def predict_probabilities(model: Any, images: ImageArray, task: Task) -> np.ndarray:
    """Returns probabilities of raw uint8 images as float64, from a Keras model that outputs logits."""
    from keras import ops

    def one_batch(*inputs: np.ndarray) -> np.ndarray:
        return ops.convert_to_numpy(task.probabilities(_predict_on_batch(model, inputs)))

    return in_batches(images, one_batch).astype(np.float64)


def predict_compact(model: Any, images: ImageArray, task: Task) -> np.ndarray:
    """Returns probabilities, or for segmentation the most probable class of each pixel as uint8.

    Masks are computed batch by batch: the probabilities of all pixels of a data set would need dozens of times as much
    memory.
    """

    def one_batch(*inputs: np.ndarray) -> np.ndarray:
        return task.compact(task.probabilities(_predict_on_batch(model, inputs)))

    return in_batches(images, one_batch)


def predict_courses(predict: Callable[[SeriesArray], np.ndarray], series: SeriesArray) -> np.ndarray:
    """Returns what is predicted after each frame of series, (series, steps, ...), NaN where there is no frame.

    Args:
        predict: Gives the probabilities of series, such as :meth:`Predictor.predict`.
        series: The series.
    """
    found = predict(series.beginnings())
    courses = np.full((len(series), series.steps, *found.shape[1:]), np.nan)
    courses[np.isfinite(series.times())] = found
    return courses


def _predict_on_batch(model: Any, inputs: tuple[np.ndarray, ...]) -> Any:
    images, *times = inputs
    return model.predict_on_batch([images.astype("float32"), *times] if times else images.astype("float32"))


def in_batches(images: ImageArray, predict: Callable[..., np.ndarray]) -> np.ndarray:
    """Applies a function to one batch after the other.

    Args:
        images: Images, or series of images.
        predict: Takes a batch of images; of series also the times of their frames.
    """
    size = batch_size_for(images.shape[1:])
    batches = (network_inputs(images, slice(start, start + size)) for start in range(0, len(images), size))
    return np.concatenate([predict(*batch) for batch in batches])


def find_model(name: str | Path) -> Path:
    """Returns the file or folder of a model: a path, a run (its best model) or a name in ``saved_models/``."""
    for path in _places(name):
        if (path / FOLDS_FILE).is_file():
            RunFolder.open(path)  # says what to name in its place
        if (path / "config.yaml").is_file():
            best = RunFolder(path).best_model
            if not best.is_file():
                raise InputError(
                    f"A run must be complete to be used. Received: {path}. Continue it with --resume {path}."
                )
            return best
        if path.is_dir() and find_format(path).holds_signature:
            return min(path.glob(find_format(path).pattern))
        if path.is_file() and not find_format(path).holds_signature and (path.parent / SIGNATURE_FILE).is_file():
            return path.parent
        if path.exists():
            return path
    raise InputError(f"A model must be a path or a name in saved_models/. Received: {name}, which does not exist.")


def load_model(name: str | Path) -> Any:
    """Loads a Keras model that this package has saved, in safe mode: nothing in the file is run.

    Own modules are imported where a run's configuration names them; for other files, import them before.

    Args:
        name: A run, a ``.keras`` file, an exported folder that holds one, or a name in ``saved_models/``.
    """
    path = find_model(name)
    read_signature(path)
    require_keras_file(path)
    predictor: Any = load_predictor(name)
    return predictor.model


def require_keras_file(path: Path) -> None:
    """Checks that a model keeps its layers: that it is a ``.keras`` file and not another export.

    Args:
        path: What :func:`find_model` returns.
    """
    format = find_format(path)
    if format is not FORMATS["keras"]:
        raise InputError(
            f"This needs a run or a .keras file. Received: {path}, {format.article}. Use its run, or export that with"
            " --format keras."
        )


def load_predictor(name: str | Path) -> Predictor:
    """Loads whatever this package has saved, ready to predict.

    Own modules are imported as in :func:`load_model`.

    Args:
        name: A run, a ``.keras`` file, an exported folder, or a name in ``saved_models/``.
    """
    path = find_model(name)
    _import_modules_of_run(name)
    return find_format(path).load(path, read_signature(path))


def require_fit(path: Path, signature: Signature, image_shape: Sequence, output_shape: Sequence) -> None:
    """Checks that a signature matches its model.

    Args:
        path: The path of the model.
        signature: The signature of the model.
        image_shape: The shape of a batch of input images.
        output_shape: The shape of the outputs for that batch.
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


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says, for a message of one line."""
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
