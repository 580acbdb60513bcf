"""OpenVINO's files, for processors and graphics units of Intel."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.saved.openvino_packages import import_openvino
from keras_lnn.saved.precisions import refuse_int8
from keras_lnn.saved.predictor import KerasPredictor, first_line, require_fit
from keras_lnn.saved.serving import ServedPredictor, count_threads, list_thresholds, make_serving, save_serving
from keras_lnn.saved.signature import Signature

FILE = "model.xml"


def write(predictor: KerasPredictor, folder: Path, samples: SampleRecord | None) -> None:
    """Writes ``model.xml`` and ``model.bin``, in which recurrences are loops."""
    openvino = import_openvino()
    openvino.save_model(_convert(predictor), folder / FILE, compress_to_fp16=False)


def write_reduced(predictor: KerasPredictor, folder: Path, precision: str, images: ImageArray | None) -> None:
    """Writes the files in a lower precision; arguments as of :meth:`Format.write_reduced`."""
    from keras_lnn.saved.openvino_precision import has_integers, to_int8

    openvino = import_openvino()
    model = _convert(predictor)
    if precision == "int8":
        assert images is not None  # exporting has asked for them
        model = to_int8(model, images)
        if not has_integers(model):
            raise refuse_int8(predictor.signature, "openvino")
    openvino.save_model(model, folder / FILE, compress_to_fp16=precision == "float16")


def load(path: Path, signature: Signature) -> ServedPredictor:
    """Loads the files into OpenVINO, on the processor, in float32 whatever the processor prefers."""
    openvino = import_openvino()
    try:
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": count_threads()}
        compiled = openvino.Core().compile_model(path / FILE, "CPU", settings)
        shapes = [compiled.input("images").partial_shape, compiled.output("probabilities").partial_shape]
    except Exception as error:  # the errors of this runtime have no common class
        raise InputError(
            f"The OpenVINO model must be whole. Received: {path / FILE} ({first_line(error)}). Export it again."
        ) from None
    require_fit(path, signature, *([None if side.is_dynamic else side.get_length() for side in one] for one in shapes))
    names = [next(iter(one.names)) for one in compiled.outputs]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        found = compiled(dict(inputs))
        return {name: found[place] for place, name in enumerate(names)}

    return ServedPredictor(signature, run)


def _convert(predictor: KerasPredictor) -> Any:
    """Returns the model in OpenVINO's memory, from a SavedModel: its reader of ONNX does not know our loops."""
    from keras_lnn.backend.programs import plain_graphs

    openvino = import_openvino()
    signature = predictor.signature
    with tempfile.TemporaryDirectory() as folder, plain_graphs(loops=True):
        save_serving(make_serving(predictor), Path(folder))
        model = openvino.convert_model(folder)
    # What OpenVINO's own programs look for.
    model.set_rt_info("\n".join(signature.class_names), ["model_info", "labels"])
    levels = list_thresholds(signature)
    if levels is not None:
        # Converting leaves out what does not depend on the images.
        constant = openvino.opset13.constant(np.array(levels, np.float32))
        constant.output(0).set_names({"thresholds"})
        model.add_results([openvino.opset13.result(constant)])
        model.set_rt_info(json.dumps(levels), ["model_info", "confidence_thresholds"])
    return model
