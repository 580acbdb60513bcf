"""LiteRT files (TensorFlow Lite), for phones and small devices."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.saved.precisions import refuse_int8
from keras_lnn.saved.predictor import KerasPredictor, first_line, require_fit
from keras_lnn.saved.serving import ServedPredictor, count_threads, make_serving, save_serving
from keras_lnn.saved.signature import Signature

FILE = "model.tflite"
# Unrolled recurrences run four times as fast there and take any number of samples, but each step takes about 50 ms to
# convert. Longer ones remain loops, which LiteRT runs for one sample at a time only.
_MOST_STEPS = 400


def write(predictor: KerasPredictor, folder: Path, samples: SampleRecord | None) -> None:
    """Writes ``model.tflite``, in which short recurrences are unrolled."""
    (folder / FILE).write_bytes(_convert(predictor, _convert_whole))


def write_reduced(predictor: KerasPredictor, folder: Path, precision: str, images: ImageArray | None) -> None:
    """Writes ``model.tflite`` in a lower precision; arguments as of :meth:`Format.write_reduced`."""
    from keras_lnn.saved.litert_precision import has_integers, to_float16, to_int8

    if precision == "float16":
        content = _convert(predictor, to_float16)
    else:
        assert images is not None  # exporting has asked for them
        recurrent = bool(_list_recurrences(predictor.model))
        content = _convert(predictor, functools.partial(to_int8, images=None if recurrent else images))
        with _quiet():
            found = has_integers(content)
        if not found:
            raise refuse_int8(predictor.signature, "litert")
    (folder / FILE).write_bytes(content)


def load(path: Path, signature: Signature) -> ServedPredictor:
    """Loads the file into LiteRT, on the processor."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        with _quiet():
            interpreter = Interpreter(str(path / FILE), num_threads=count_threads())
            interpreter.allocate_tensors()  # reports its delegate
            runner = interpreter.get_signature_runner("serving_default")
        details = [runner.get_input_details()["images"], runner.get_output_details()["probabilities"]]
        shapes = [[None if side < 0 else side for side in one["shape_signature"].tolist()] for one in details]
    except Exception as error:  # the errors of this runtime have no common class
        raise InputError(
            f"The LiteRT file must be whole. Received: {path / FILE} ({first_line(error)}). Export it again."
        ) from None
    require_fit(path, signature, *shapes)
    one_by_one = shapes[0][0] is not None

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        if not one_by_one:
            return runner(**inputs)
        count = len(inputs["images"])
        parts = [runner(**{name: value[[row]] for name, value in inputs.items()}) for row in range(count)]
        return {
            name: parts[0][name] if name == "thresholds" else np.concatenate([part[name] for part in parts])
            for name in parts[0]
        }

    return ServedPredictor(signature, run)


def _convert(predictor: KerasPredictor, convert: Callable[[Any], bytes]) -> bytes:
    """Returns the content of the file.

    Args:
        predictor: The model.
        convert: Returns it from TensorFlow's converter, which holds the model.
    """
    import tensorflow as tf

    from keras_lnn.backend.programs import plain_graphs

    loops = count_steps(predictor.model) > _MOST_STEPS
    served = KerasPredictor(with_flat_pooling(predictor.model), predictor.signature)
    unrolled = contextlib.nullcontext() if loops else _unrolled(predictor.model)
    with tempfile.TemporaryDirectory() as folder, plain_graphs(loops=loops), unrolled:
        save_serving(make_serving(served, batch=1 if loops else None), Path(folder))
        with _quiet():
            return convert(tf.lite.TFLiteConverter.from_saved_model(folder))


def _convert_whole(converter: Any) -> bytes:
    return converter.convert()


def count_steps(model: Any) -> int:
    """Returns how many steps the recurrences of a model take one after the other, with the unfolds of a solver."""
    found = 0
    for layer in _list_recurrences(model):
        inputs = layer.input[0] if isinstance(layer.input, list | tuple) else layer.input
        found += inputs.shape[1] * layer.get_config().get("ode_unfolds", 1)
    return found


def _list_recurrences(model: Any) -> list[Any]:
    """Returns the recurrent layers of a model, those of models inside it too."""
    import keras

    inner = [one for layer in model.layers if isinstance(layer, keras.Model) for one in _list_recurrences(layer)]
    return inner + [layer for layer in model.layers if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional)]


@contextlib.contextmanager
def _unrolled(model: Any) -> Generator[None]:
    """Unrolls the recurrent layers of Keras inside the context; liquid layers are by their own switch."""
    layers = [one for one in _list_recurrences(model) if hasattr(one, "unroll")]
    before = [layer.unroll for layer in layers]
    for layer in layers:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.unroll = value


def with_flat_pooling(model: Any) -> Any:
    """Returns a model of the same layers in which volumes are pooled along one plane and one axis, as LiteRT can."""
    import keras

    inner: dict[str, Any] = {}

    def call(operation: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(operation, keras.Model):
            # A member of an ensemble may be called several times, and is one layer.
            if operation.name not in inner:
                inner[operation.name] = with_flat_pooling(operation)
            operation = inner[operation.name]
        kind = _POOLINGS.get(type(operation).__name__)
        if kind is None or len(arguments[0].shape) != 5:
            return operation(*arguments, **options)
        return pool_volumes(kind, arguments[0], operation.pool_size, operation.strides, operation.padding)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


_POOLINGS = {
    "MaxPooling3D": "max_pool",
    "MaxPool": "max_pool",
    "AveragePooling3D": "average_pool",
    "AveragePool": "average_pool",
}


def pool_volumes(kind: str, volumes: Any, size: Any, strides: Any, padding: str) -> Any:
    """Returns pooled volumes (batch, depth, height, width, channels), by two poolings of images.

    Args:
        kind: ``max_pool`` or ``average_pool``.
        volumes: The volumes.
        size: The sides of the window, or one for all.
        strides: The steps of the window; None for its sides.
        padding: ``same`` or ``valid``.
    """
    from keras import ops

    sides = (size,) * 3 if isinstance(size, int) else tuple(size)
    steps = sides if strides is None else (strides,) * 3 if isinstance(strides, int) else tuple(strides)
    pool = getattr(ops, kind)
    _, depth, height, width, channels = volumes.shape
    planes = ops.reshape(volumes, (-1, height, width, channels))
    planes = pool(planes, sides[1:], steps[1:], padding=padding)
    height, width = planes.shape[1:3]
    lines = ops.reshape(planes, (-1, depth, height * width, channels))
    lines = pool(lines, (sides[0], 1), (steps[0], 1), padding=padding)
    return ops.reshape(lines, (-1, lines.shape[1], height, width, channels))


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Hides what the converter and the runtime print past Python's streams."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
