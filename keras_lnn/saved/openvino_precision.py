"""OpenVINO models in 8-bit integers, by the package nncf."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Set
from typing import Any

from keras_lnn.data.arrays import ImageArray
from keras_lnn.saved.openvino_packages import import_nncf
from keras_lnn.saved.precisions import list_batches

# Layers that the runtime computes in integers.
_INTEGER_NODES = frozenset(
    {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "MatMul"}
)
# What may pass integers on to them unchanged. Everything else stays in float32: a loop, whose states carry what is
# rounded in one step into all later ones, times of series, the resizing of masks, probabilities and decisions.
_PASSING_NODES = frozenset(
    {
        "Broadcast",
        "Concat",
        "Constant",
        "Convert",
        "MaxPool",
        "Pad",
        "Parameter",
        "Relu",
        "Reshape",
        "Result",
        "Split",
        "Squeeze",
        "StridedSlice",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "VariadicSplit",
    }
)
_CALIBRATION_BATCH = 16


def to_int8(model: Any, images: ImageArray) -> Any:
    """Returns an OpenVINO model whose convolutions and dense layers outside loops compute with 8-bit integers.

    Weights have 7 bits: with 8, processors without instructions for neural networks overflow in their sums.

    Args:
        model: The model in float32.
        images: Images from which the ranges of the values between layers are taken.
    """
    with _without_messages():
        nncf = import_nncf()
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        batches = list(list_batches(images, _CALIBRATION_BATCH))
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(
                names=list_recurrent_layers(model), types=sorted(list_float_nodes(model)), validate=False
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,
                # By default a range is the mean of those of the samples, which cuts off the values of rare ones.
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )


def list_float_nodes(model: Any) -> Set[str]:
    """Returns the kinds of nodes of an OpenVINO model that must not read integers."""
    return {node.get_type_name() for node in model.get_ops()} - _INTEGER_NODES - _PASSING_NODES


def list_recurrent_layers(model: Any) -> list[str]:
    """Returns the names of the dense layers whose outputs a loop reads: they are part of its recurrence.

    What a recurrence reads may hold times beside features, which would share one range of integers.

    Args:
        model: An OpenVINO model.
    """
    found, seen = [], set()
    waiting = [node for node in model.get_ops() if node.get_type_name() == "Loop"]
    while waiting:
        for source in (value.get_node() for value in waiting.pop().input_values()):
            name, kind = source.get_friendly_name(), source.get_type_name()
            if name not in seen:
                seen.add(name)
                found += [name] if kind == "MatMul" else []
                waiting += [] if kind in _INTEGER_NODES else [source]
    return found


def has_integers(model: Any) -> bool:
    """Returns whether some layer of an OpenVINO model computes with integers."""
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


@contextlib.contextmanager
def _without_messages() -> Generator[None]:
    """Silences what nncf logs of its steps, and its progress bars, which it draws on the console that rich shares."""
    import rich

    console = rich.get_console()
    before, console.quiet = console.quiet, True
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        console.quiet = before
