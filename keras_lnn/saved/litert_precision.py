"""LiteRT models in 8-bit integers and with weights in 16 bits."""

from __future__ import annotations

import warnings
from typing import Any

from keras_lnn.data.arrays import ImageArray
from keras_lnn.saved.precisions import list_batches

# In 8 bits all probabilities would be multiples of 1/256, and many samples equally probable.
_FLOAT_NODES = ["SOFTMAX", "LOGISTIC"]


def to_float16(converter: Any) -> bytes:
    """Returns a model whose weights have 16 bits, from TensorFlow's converter."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def to_int8(converter: Any, images: ImageArray | None) -> bytes:
    """Returns a model whose convolutions and dense layers compute with 8-bit integers, from TensorFlow's converter.

    Args:
        converter: The converter.
        images: Images from which the ranges of the values between layers are taken. None for a model with a recurrence:
            there the converter would give the values before it the range of the states, and cut off all beyond. So only
            weights are integers in the file, and values become integers before each convolution or dense layer, by
            their own range.
    """
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if images is None:
        return converter.convert()
    converter.representative_dataset = lambda: list_batches(images, 1)
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_FLOAT_NODES)
    with warnings.catch_warnings():
        # It compares models by TensorFlow's own interpreter, which warns of its age.
        warnings.simplefilter("ignore")
        try:
            debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
        except ValueError as error:
            if "debug mode" in str(error):  # what it says where no node is one of integers
                return b""
            raise
        return debugger.get_nondebug_quantized_model()


def has_integers(content: bytes) -> bool:
    """Returns whether some weights of a LiteRT file have 8 bits."""
    from ai_edge_litert.interpreter import Interpreter

    if not content:
        return False
    details = Interpreter(model_content=content).get_tensor_details()
    return any(one["dtype"].__name__ == "int8" for one in details)
