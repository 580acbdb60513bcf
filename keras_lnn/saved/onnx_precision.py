"""ONNX models in 8-bit integers and with weights in 16 bits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.saved.precisions import list_batches

# Layers that a runtime computes in integers, and what stands between them. Loops are left alone: what a recurrence
# rounds in one step it carries into all later ones.
_INTEGER_NODES = ["Conv", "Gemm", "MatMul", "MaxPool", "Relu"]
_CALIBRATION_BATCH = 16
# Smaller constants, such as factors and offsets, are no weights.
_FEWEST_WEIGHTS = 64


def to_int8(model: Any, images: ImageArray) -> Any:
    """Returns an ONNX model whose convolutions and dense layers outside loops compute with 8-bit integers.

    Weights have 7 bits: with 8, processors without instructions for neural networks overflow in their sums.

    Args:
        model: The model in float32.
        images: Images from which the ranges of the values between layers are taken.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self, batches: Iterator[dict[str, np.ndarray]]) -> None:
            self.batches = batches

        def get_next(self) -> Any:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        whole, prepared, written = (Path(folder, f"{name}.onnx") for name in ("whole", "prepared", "written"))
        onnx.save(model, whole)
        # Joins batch normalisations with the convolutions before them.
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            written,
            Images(list_batches(images, _CALIBRATION_BATCH)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_INTEGER_NODES,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(written)


def has_integers(model: Any) -> bool:
    """Returns whether some layer of an ONNX model computes with integers."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def halve_weights(model: Any) -> None:
    """Keeps the weights of an ONNX model in float16; a runtime turns them into float32 when it loads them."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _FEWEST_WEIGHTS or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}/float32", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
