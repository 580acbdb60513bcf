"""ONNX files, which ONNX Runtime and many other runtimes load, on servers, desktops and in browsers."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.saved.precisions import refuse_int8
from keras_lnn.saved.predictor import KerasPredictor, first_line, require_fit
from keras_lnn.saved.serving import ServedPredictor, count_threads, list_thresholds, make_serving
from keras_lnn.saved.signature import Signature

FILE = "model.onnx"
# The newest version that tf2onnx 1.17 writes.
_OPSET = 18
_SHAPED = ("images", "probabilities")


def write(predictor: KerasPredictor, folder: Path, samples: SampleRecord | None) -> None:
    """Writes ``model.onnx``, in which recurrences are loops; names, thresholds and signature are its metadata."""
    _save(_convert(predictor), predictor.signature, folder)


def write_reduced(predictor: KerasPredictor, folder: Path, precision: str, images: ImageArray | None) -> None:
    """Writes ``model.onnx`` in a lower precision; arguments as of :meth:`Format.write_reduced`."""
    from keras_lnn.saved.onnx_precision import halve_weights, has_integers, to_int8

    model = _convert(predictor)
    if precision == "int8":
        assert images is not None  # exporting has asked for them
        with _without_messages():
            model = to_int8(model, images)
        if not has_integers(model):
            raise refuse_int8(predictor.signature, "onnx")
    else:
        halve_weights(model)
    _save(model, predictor.signature, folder)


def load(path: Path, signature: Signature) -> ServedPredictor:
    """Loads an ONNX file into ONNX Runtime, on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path / FILE), options, providers=["CPUExecutionProvider"])
        shapes = {one.name: one.shape for one in (*session.get_inputs(), *session.get_outputs())}
        found = [[None if isinstance(side, str) else side for side in shapes[name]] for name in _SHAPED]
    except Exception as error:  # the errors of this runtime have no common class
        raise InputError(
            f"The ONNX file must be whole. Received: {path / FILE} ({first_line(error)}). Export it again."
        ) from None
    require_fit(path, signature, *found)
    names = [one.name for one in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return ServedPredictor(signature, run)


def _convert(predictor: KerasPredictor) -> Any:
    """Returns the model in ONNX, without names and metadata."""
    from keras_lnn.backend.programs import plain_graphs

    serve = make_serving(predictor).serve
    with _without_messages(), _collecting_copies(), plain_graphs(loops=True):
        import tf2onnx

        model, _ = tf2onnx.convert.from_function(
            serve,
            input_signature=serve.input_signature,
            opset=_OPSET,
            custom_op_handlers={"SelectV2": (_write_where, [])},
        )
    return model


def _save(model: Any, signature: Signature, folder: Path) -> None:
    """Writes a model with its names and metadata."""
    _name_batch(model)
    _describe(model, signature)
    (folder / FILE).write_bytes(model.SerializeToString())


def _write_where(context: Any, node: Any, name: str, arguments: list[Any]) -> Any:
    """Writes a choice as such: tf2onnx multiplies by zero what is not chosen, and NaN stays NaN."""
    node.type = "Where"
    return node


def _name_batch(model: Any) -> None:
    """Names the first axis of inputs and outputs: tf2onnx gives each a name of its own, as if they could differ."""
    for value in (*model.graph.input, *model.graph.output):
        sides = value.type.tensor_type.shape.dim
        if sides and value.name != "thresholds":
            sides[0].Clear()
            sides[0].dim_param = "samples"


def _describe(model: Any, signature: Signature) -> None:
    """Adds the names of the classes as an output, and what the model is as metadata."""
    import onnx

    names = list(signature.class_names)
    texts: Any = [name.encode() for name in names]
    text = onnx.helper.make_tensor("names", onnx.TensorProto.STRING, [len(names)], texts)
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["class_names"], value=text))
    model.graph.output.append(onnx.helper.make_tensor_value_info("class_names", onnx.TensorProto.STRING, [len(names)]))
    facts = {"class_names": names, "thresholds": list_thresholds(signature), "keras_lnn": signature.to_json()}
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in facts.items()})
    model.producer_name = "keras-lnn"


@contextlib.contextmanager
def _collecting_copies() -> Generator[None]:
    """Frees the copies that tf2onnx makes of a graph, weights and all, before each of its dozens of optimizations.

    The copies refer to themselves and consist of few objects, so that Python would not look for them soon enough.
    """
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

    optimize = GraphOptimizerBase.optimize

    def optimize_and_collect(self: Any, graph: Any, iteration: int) -> Any:
        gc.collect()
        return optimize(self, graph, iteration)

    gc.collect()
    gc.freeze()  # collecting walks through the new objects alone
    GraphOptimizerBase.optimize = optimize_and_collect
    try:
        yield
    finally:
        GraphOptimizerBase.optimize = optimize


@contextlib.contextmanager
def _without_messages() -> Generator[None]:
    """Silences what tf2onnx logs of its steps, and of constants that it could not fold."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
