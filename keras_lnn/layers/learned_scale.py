"""A learned scale for bounded outputs, so that as logits they can express confident predictions."""

import math
from typing import Any

import keras
from keras import ops

# The largest possible probability before training.
_FIRST_CONFIDENCE = 0.99


@keras.saving.register_keras_serializable(package="keras_lnn")
class LearnedScale(keras.layers.Layer):
    r"""Multiplies outputs between -1 and 1 by one learned positive number, :math:`y = e^s x`.

    The outputs of a CfC's motor neurons are tanh, and the softmax of :math:`n` such numbers is at most
    :math:`e / (e + (n - 1) / e)`: .88 for two classes, but .45 for ten, however sure the network is. The scale starts
    where the largest probability can be .99, and is learned with the weights; its inverse is known as the temperature
    of a softmax (Guo et al., "On calibration of modern neural networks", 2017).

    Example:
        >>> LearnedScale()(keras.ops.ones((4, 10))).shape
        (4, 10)
    """

    def build(self, shape: Any) -> None:
        others = max(shape[-1] - 1, 1)
        first = 0.5 * math.log(_FIRST_CONFIDENCE / (1 - _FIRST_CONFIDENCE) * others)
        # Learned as a logarithm: an optimiser's steps are all about equally large, and the scale may change by a lot.
        self.log_scale = self.add_weight((), keras.initializers.Constant(math.log(first)), name="log_scale")

    @property
    def scale(self) -> float:
        """Returns the number that outputs are multiplied by."""
        return math.exp(float(ops.convert_to_numpy(self.log_scale)))

    def call(self, outputs: Any) -> Any:
        return outputs * ops.exp(self.log_scale)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape
