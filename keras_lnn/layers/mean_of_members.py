"""The mean of the probabilities of several models, as one layer from their logits to logits."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_lnn")
class MeanOfMembers(keras.layers.Layer):
    r"""Returns logits whose probabilities are the mean of the calibrated probabilities of several models.

    With the logits :math:`z_m` of each of :math:`M` models and the scale :math:`a_m` and offset :math:`b_m` of its
    calibration, the softmax of the outputs is

    .. math:: \frac{1}{M} \sum_m \mathrm{softmax}(a_m z_m + b_m)

    and with ``sigmoid`` likewise the sigmoid of each output. It is computed from logarithms, so that probabilities
    near 0 and 1 are as exact as those of the members. Always in float32, whatever the precision of the members.

    A list of tensors (batch, ..., classes), one per member, to (batch, ..., classes).

    Args:
        activation: What turns logits into probabilities: ``softmax`` over classes, ``sigmoid`` of each label.
        scales: For each member one positive factor of its logits, or one per class.
        offsets: For each member what is added to its scaled logits, one per class, or nothing.
        dtype: The precision of the computation.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> logits = [keras.ops.zeros((2, 3)), keras.ops.ones((2, 3))]
        >>> MeanOfMembers("softmax", [[1.0], [2.0]], [[], []])(logits).shape
        (2, 3)
    """

    def __init__(
        self,
        activation: str,
        scales: Sequence[Sequence[float]],
        offsets: Sequence[Sequence[float]],
        dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=dtype, **kwargs)
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"activation must be softmax or sigmoid. Received: {activation}.")
        if not scales or len(scales) != len(offsets):
            raise ValueError(
                "scales and offsets must have one entry per member, and there must be a member. Received: "
                f"{len(scales)} and {len(offsets)}."
            )
        self.activation = activation
        self.scales = [list(member) for member in scales]
        self.offsets = [list(member) for member in offsets]
        self.supports_masking = True

    def call(self, logits: Sequence[Any]) -> Any:
        calibrated = ops.stack(
            [
                values * ops.array(scales, "float32") + (ops.array(offsets, "float32") if offsets else 0.0)
                for values, scales, offsets in zip(logits, self.scales, self.offsets, strict=True)
            ]
        )
        if self.activation == "softmax":
            return ops.logsumexp(ops.log_softmax(calibrated, axis=-1), axis=0) - ops.log(float(len(self.scales)))
        return ops.logsumexp(ops.log_sigmoid(calibrated), axis=0) - ops.logsumexp(ops.log_sigmoid(-calibrated), axis=0)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None

    def compute_output_shape(self, shapes: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return tuple(shapes[0])

    def get_config(self) -> dict[str, Any]:
        own = {"activation": self.activation, "scales": self.scales, "offsets": self.offsets}
        return {**super().get_config(), **own}
