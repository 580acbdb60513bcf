"""The layer that turns the times of frames into what recurrent layers read: elapsed times and a mask."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def find_median_interval(times: np.ndarray) -> float | None:
    """Returns the median time from one frame to the next one of the same series; None if no time passes in any of them.

    Frames at the same time do not count.

    Args:
        times: Times of frames (series, steps), NaN where there is no frame.
    """
    gaps = np.diff(times, axis=1)
    gaps = gaps[np.isfinite(gaps) & (gaps > 0)]
    return float(np.median(gaps)) if len(gaps) else None


@keras.saving.register_keras_serializable(package="keras_lnn")
class ElapsedTime(keras.layers.Layer):
    """Turns the times of frames (batch, steps) into the time since the frame before, (batch, steps, 1), and a mask.

    Elapsed times are divided by their median in the training data, which is a weight: a model that has learned minutes
    keeps its scale wherever it goes. The first frame has an elapsed time of 1, as a sequence without times has.
    Where a time is NaN there is no frame: its elapsed time is 0, and its mask is false.

    Args:
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> layer = ElapsedTime()
        >>> layer.adapt(np.array([[0.0, 2.0, 4.0]]))
        >>> elapsed, mask = layer(np.array([[0.0, 1.0, np.nan]]))
        >>> elapsed[0, :, 0].numpy().tolist(), mask[0].numpy().tolist()
        ([1.0, 0.5, 0.0], [True, True, False])
    """

    def __init__(self, **kwargs: Any) -> None:
        # Times need more digits than half precision has.
        super().__init__(dtype="float32", **kwargs)
        self.unit_time = self.add_weight(shape=(), initializer="ones", trainable=False, name="unit_time")

    def adapt(self, times: np.ndarray) -> None:
        """Sets the unit to the median of the elapsed times.

        Args:
            times: Times of frames (series, steps), NaN where there is no frame.
        """
        self.unit_time.assign(find_median_interval(times) or 1.0)

    def call(self, times: Any) -> tuple[Any, Any]:
        is_frame = ops.logical_not(ops.isnan(times))
        known = ops.where(is_frame, times, ops.zeros_like(times))
        gaps = (known[:, 1:] - known[:, :-1]) / self.unit_time
        elapsed = ops.concatenate([ops.ones_like(known[:, :1]), gaps], axis=1)
        return ops.where(is_frame, elapsed, ops.zeros_like(elapsed))[..., None], is_frame

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[Any, Any]:
        return (*input_shape, 1), tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return config
