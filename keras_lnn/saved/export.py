"""Exporting a model: a folder in one of the formats, with card and signature, checked before it takes its place."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray
from keras_lnn.errors import InputError, suggest
from keras_lnn.files.atomic import atomic_path, remove_partial_files, require_no_pattern, write_json, write_text
from keras_lnn.layers import LearnedScale
from keras_lnn.saved.card import CARD_FILE, model_card
from keras_lnn.saved.formats import FORMATS, NO_EXPORT, list_exports
from keras_lnn.saved.predictor import KerasPredictor, find_model, load_predictor
from keras_lnn.saved.signature import SIGNATURE_FILE, Signature, read_samples

# Two ways through the same float32 arithmetic differ by rounding alone.
_TOLERANCE = 1e-5


def export_model(
    source: str | Path, output: str | Path, format: str = "saved_model", metrics: dict[str, Any] | None = None
) -> Path:
    """Exports a trained model to a folder of its own; what stands there is replaced once the new one is checked.

    An export of another format stays: then the new one goes to a folder beside it, see :func:`find_place`.

    The SavedModel takes raw uint8 images and gives ``probabilities``, ``predicted`` (for several labels by the
    thresholds chosen on validation) and ``class_names``; it loads with TensorFlow alone. A segmentation
    model gives ``mask``, the most probable class of each pixel, instead of ``predicted``.

    A model trained on a user's own images carries short digests of the contents of its samples, by which an evaluation
    recognises them; names of files and patients are not exported.

    Args:
        source: A run or a ``.keras`` file.
        output: The folder to make, or the one beside which to make it.
        format: A name in ``keras_lnn.saved.formats.FORMATS``.
        metrics: Content of the run's metrics.json, for the card.

    Returns:
        The folder.
    """
    require_backend(format, "Give --format keras")
    predictor = load_predictor(source)
    output = find_place(output, format)
    require_no_pattern(output)
    if not isinstance(predictor, KerasPredictor):
        raise InputError(
            f"An export must start from a run or a .keras file. Received: {source}, which is exported already."
        )
    if output.exists() and not (output / SIGNATURE_FILE).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"The export's folder must be new or an earlier export. Received: {output}. Choose another.")
    samples = read_samples(find_model(source))
    remove_partial_files(output.parent)
    with _writing(output), atomic_path(output) as temporary:
        temporary.mkdir()
        FORMATS[format].write(predictor, temporary, samples)
        write_json(temporary / SIGNATURE_FILE, predictor.signature.to_json())
        scale = next((layer.scale for layer in predictor.model.layers if isinstance(layer, LearnedScale)), None)
        card = model_card(predictor.signature, metrics, format, scale)
        write_text(temporary / CARD_FILE, card)
        difference = _difference(predictor, temporary)
        if difference > _TOLERANCE * _largest_scale(predictor.signature):
            raise RuntimeError(
                f"The exported model's probabilities differ from those of the Keras model by {difference:.2g}."
            )
    return output


def find_place(output: str | Path, format: str) -> Path:
    """Returns the folder for an export: the one that is asked for, or one beside it that is named by the format too.

    Args:
        output: The folder that is asked for, which may hold an export of another format.
        format: The name of the format.
    """
    output = Path(output)
    others = (other for name, other in FORMATS.items() if name != format)
    taken = (output / SIGNATURE_FILE).is_file() and any(other.is_in(output) for other in others)
    return output.with_name(f"{output.name}-{format.replace('_', '-')}") if taken else output


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


def require_backend(format: str, remedy: str) -> None:
    """Checks that this Keras backend can write a format.

    Args:
        format: The name of the format, or ``none``.
        remedy: What the user can do besides taking the other backend, for the message.
    """
    if format not in list_exports():
        raise InputError(f"There is no export format {format!r}. {suggest(format, FORMATS)}")
    needed = None if format == NO_EXPORT else FORMATS[format].backend
    if needed is not None and keras.backend.backend() != needed.lower():
        article = FORMATS[format].article
        raise InputError(
            f"{article[0].upper()}{article[1:]} needs the {needed} backend. Received: "
            f"{keras.backend.backend()}. {remedy}, or set KERAS_BACKEND={needed.lower()}."
        )


def _difference(predictor: KerasPredictor, folder: Path) -> float:
    images = _draw_inputs(predictor.signature)
    return float(np.abs(load_predictor(folder).predict(images) - predictor.predict(images)).max())


def _largest_scale(signature: Signature) -> float:
    """Returns how many times larger a calibration makes differences of logits, at least one."""
    return 1.0 if signature.calibration is None else max(1.0, *signature.calibration.scales)


def _draw_inputs(signature: Signature) -> ImageArray:
    """Returns eight random images, or series of different lengths at uneven times."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, *signature.image_shape), dtype=np.uint8)
    if signature.time_unit is None:
        return images
    steps = signature.image_shape[0]
    lengths = np.linspace(1, steps, len(images)).round().astype(np.int64)
    times = np.cumsum(generator.exponential(signature.median_interval or 1.0, images.shape[:2]), axis=1)
    series = [part[:length] for part, length in zip(images, lengths, strict=True)]
    kept = [part[:length] for part, length in zip(times, lengths, strict=True)]
    return SeriesArray.join(series, kept, signature.time_unit, steps)
