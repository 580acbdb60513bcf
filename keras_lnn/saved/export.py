"""Exporting a model: a folder in one of the formats, with card and signature, checked before it takes its place."""

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray, as_series
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError, suggest
from keras_lnn.files.atomic import atomic_path, remove_partial_files, require_no_pattern, write_json, write_text
from keras_lnn.layers import LearnedScale
from keras_lnn.saved.card import CARD_FILE, model_card
from keras_lnn.saved.formats import FORMATS, NO_EXPORT, list_exports, require_precision
from keras_lnn.saved.predictor import KerasPredictor, Predictor, find_model, load_predictor
from keras_lnn.saved.signature import SAMPLES_FILE, SIGNATURE_FILE, Signature, read_samples, read_signature

# Two ways through the same float32 arithmetic differ by rounding alone.
_TOLERANCE = 1e-5
_DRAWN = 8
# As many real samples are enough to find a wrong operation, and predicted in a moment by any model.
COMPARED_SAMPLES = 64


def export_model(
    source: str | Path,
    output: str | Path,
    format: str = "saved_model",
    metrics: dict[str, Any] | None = None,
    samples: ImageArray | None = None,
    precision: str | None = None,
    judge: Callable[[Predictor], str] | None = None,
    loaded: Predictor | None = None,
) -> Path:
    """Exports a trained model to a folder of its own; what stands there is replaced once the new one is checked.

    An export of another format or precision stays: then the new one goes to a folder beside it, see :func:`find_place`.

    Each format takes raw uint8 images and gives calibrated ``probabilities``, ``predicted`` (by the thresholds chosen
    on validation; a segmentation model gives ``mask``, the most probable class of each pixel, instead) and the
    ``thresholds``; where its file can hold text also ``class_names``. It runs without this package. Its own runtime
    then predicts samples, and its probabilities must be those of the Keras model.

    A model trained on a user's own images carries short digests of the contents of its samples, by which an evaluation
    recognises them; names of files and patients are not exported.

    Args:
        source: A run or a ``.keras`` file.
        output: The folder to make, or the one beside which to make it.
        format: A name in ``keras_lnn.saved.formats.FORMATS``.
        metrics: Content of the run's metrics.json, for the card.
        samples: Samples like those of the training on which to compare both; random ones if not given. ``int8`` takes
            the ranges of its integers from them.
        precision: A lower precision of ``keras_lnn.saved.formats.PRECISIONS``; None for float32.
        judge: Takes the exported model of a lower precision, returns in words what it loses, and raises where that is
            too much; only differences of probabilities are described if not given.

    Returns:
        The folder.
    """
    require_format(format, precision)
    if precision is not None:
        require_samples(precision, samples)
    predictor = load_predictor(source) if loaded is None else loaded
    output = _require_place(find_place(output, format, precision))
    if not isinstance(predictor, KerasPredictor):
        raise InputError(
            f"An export must start from a run or a .keras file. Received: {source}, which is exported already."
        )
    if precision is not None:
        predictor = KerasPredictor(predictor.model, dataclasses.replace(predictor.signature, precision=precision))
    signature, record = predictor.signature, read_samples(find_model(source))
    remove_partial_files(output.parent)
    with _writing(output), atomic_path(output) as temporary:
        temporary.mkdir()
        if precision is None:
            write_model(predictor, source, format, temporary, record)
        else:
            _require_backend(format)
            FORMATS[format].write_reduced(predictor, temporary, precision, samples)
        write_json(temporary / SIGNATURE_FILE, signature.to_json())
        if record is not None and not FORMATS[format].holds_signature:
            write_json(temporary / SAMPLES_FILE, record.to_json())
        difference = _measure_difference(predictor, temporary, samples)
        if precision is None and difference > _TOLERANCE * _largest_scale(signature):
            raise RuntimeError(
                f"The exported model's probabilities differ from those of the Keras model by {difference:.2g}."
            )
        loss = None if precision is None or judge is None else judge(load_predictor(temporary))
        scale = next((layer.scale for layer in predictor.model.layers if isinstance(layer, LearnedScale)), None)
        words = None if FORMATS[format].holds_signature else _describe_difference(difference, samples, signature)
        write_text(temporary / CARD_FILE, model_card(signature, metrics, format, scale, words, loss))
    return output


def _require_place(output: Path) -> Path:
    """Returns the folder of an export, which must not hold anything else."""
    require_no_pattern(output)
    if output.exists() and not (output / SIGNATURE_FILE).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"The export's folder must be new or an earlier export. Received: {output}. Choose another.")
    return output


def write_model(
    predictor: KerasPredictor, source: str | Path, format: str, folder: Path, samples: SampleRecord | None
) -> None:
    """Writes the files of a format; what another Keras backend has to write is written by a process that has it.

    Args:
        predictor: The model.
        source: What it was loaded from, which that process loads.
        format: The name of the format.
        folder: An empty folder.
        samples: The samples that it learned from; None where not known.
    """
    needed = FORMATS[format].backend
    if needed is None or keras.backend.backend() == needed.lower():
        FORMATS[format].write(predictor, folder, samples)
        return
    command = [sys.executable, "-m", "keras_lnn.saved.export", str(Path(source).resolve()), format, str(folder)]
    done = subprocess.run(
        command, env=os.environ | {"KERAS_BACKEND": needed.lower()}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or "it was stopped").splitlines()[-1]
        raise InputError(
            f"{needed} must be able to load and write a model of another backend. Received: {source} ({last}). Export"
            f" it with KERAS_BACKEND={needed.lower()} to see all that it says."
        )


def find_place(output: str | Path, format: str, precision: str | None = None) -> Path:
    """Returns the folder for an export: the one that is asked for, or one beside it that is named by the format too.

    Args:
        output: The folder that is asked for, which may hold an export of another format or precision.
        format: The name of the format.
        precision: The name of a lower precision than float32.
    """
    output = Path(output)
    if not (output / SIGNATURE_FILE).is_file():
        return output
    others = (other for name, other in FORMATS.items() if name != format)
    taken = any(other.is_in(output) for other in others) or read_signature(output).precision != precision
    name = "-".join([output.name, format.replace("_", "-"), *([] if precision is None else [precision])])
    return output.with_name(name) if taken else output


def require_samples(precision: str, samples: ImageArray | None) -> None:
    """Checks that there are samples where a precision needs them.

    Args:
        precision: The name of the precision.
        samples: The samples; None for none.
    """
    if precision == "int8" and (samples is None or not len(samples)):
        raise InputError(
            "int8 needs images of the validation split, for the ranges of its integers. Received: none. Make the data"
            " of the run available, or choose --quantize float16."
        )


def _require_backend(format: str) -> None:
    """Checks that this process has the Keras backend that writes a format; images do not go to another process."""
    needed = FORMATS[format].backend
    if needed is not None and keras.backend.backend() != needed.lower():
        raise InputError(
            f"A lower precision is written with Keras on {needed}. Received: {keras.backend.backend()}. Set"
            f" KERAS_BACKEND={needed.lower()}."
        )


@contextlib.contextmanager
def _writing(output: Path) -> Generator[None]:
    """Reports in one line that an export cannot be written; TensorFlow has errors of its own for a full disk."""
    failures: tuple[type[Exception], ...] = (OSError,)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        failures += (tf.errors.OpError,)
    try:
        yield
    except failures as error:
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise InputError(
            f"An export needs a folder with enough space. Received: {output} ({reason}). Make room, or choose another."
        ) from None


def require_format(format: str, precision: str | None = None) -> None:
    """Checks that a format exists and has a precision, and that what writes and runs it is installed.

    Args:
        format: The name of the format, or ``none``.
        precision: The name of a lower precision; None for float32.
    """
    if format not in list_exports():
        raise InputError(f"There is no export format {format!r}. {suggest(format, FORMATS)}")
    if precision is not None:
        require_precision(format, precision)
    if format != NO_EXPORT:
        FORMATS[format].require_installed(writing=True, precision=precision)


def _measure_difference(predictor: KerasPredictor, folder: Path, samples: ImageArray | None) -> float:
    """Returns the largest difference of the probabilities of an export from those of its Keras model."""
    exported, found = load_predictor(folder), 0.0
    compared = [_draw_inputs(predictor.signature), *(() if samples is None else (samples,))]
    if all(as_series(images) is None for images in compared):
        # Each size of a batch is compiled, which takes a second.
        compared = [np.concatenate([images[:] for images in compared])]
    for images in compared:
        differences = np.abs(exported.predict(images) - predictor.predict(images))
        # A maximum would pass over a model that gives no number where the other one does.
        found = max(found, float(np.nan_to_num(differences, nan=1.0).max(initial=0.0)))
    return found


def _describe_difference(difference: float, samples: ImageArray | None, signature: Signature) -> str:
    """Returns the largest difference in words."""
    real = "" if samples is None else f"{len(samples)} {signature.samples} of the data and "
    return (
        f"at most {difference:.2g} from the probabilities of the Keras model, on {real}{_DRAWN} random"
        f" {signature.samples}"
    )


def _largest_scale(signature: Signature) -> float:
    """Returns how many times larger a calibration makes differences of logits, at least one."""
    return 1.0 if signature.calibration is None else max(1.0, *signature.calibration.scales)


def _draw_inputs(signature: Signature) -> ImageArray:
    """Returns random images, or series of different lengths at uneven times."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (_DRAWN, *signature.image_shape), dtype=np.uint8)
    if signature.time_unit is None:
        return images
    steps = signature.image_shape[0]
    lengths = np.linspace(1, steps, len(images)).round().astype(np.int64)
    times = np.cumsum(generator.exponential(signature.median_interval or 1.0, images.shape[:2]), axis=1)
    series = [part[:length] for part, length in zip(images, lengths, strict=True)]
    kept = [part[:length] for part, length in zip(times, lengths, strict=True)]
    return SeriesArray.join(series, kept, signature.time_unit, steps)


def _write_here(source: str, format: str, folder: str) -> None:
    """Writes the files of a format in this process, for one with another backend."""
    predictor: Any = load_predictor(source)
    FORMATS[format].write(predictor, Path(folder), read_samples(find_model(source)))


if __name__ == "__main__":
    _write_here(*sys.argv[1:])
