"""Layers for series of frames at uneven times, beside the liquid ones: a decaying GRU, an encoding of time, a mean."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


class _OverFrames(keras.layers.Layer):
    """Base class of layers that give one row of features per series, after which there is no mask."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, *_: Any, **__: Any) -> None:
        return None

    def compute_output_shape(self, input_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[-1])


def _blank(values: Any, is_frame: Any) -> Any:
    """Returns zeros at padded frames, so that what they held, even NaN, reaches neither outputs nor gradients."""
    return ops.where(ops.cast(is_frame, "bool")[..., None], values, ops.zeros_like(values))


@keras.saving.register_keras_serializable(package="keras_lnn")
class DecayingGRU(_OverFrames):
    """A GRU whose state decays towards zero while time passes, as in GRU-D; returns the state after the last frame.

    Che et al., "Recurrent neural networks for multivariate time series with missing values", Scientific Reports 8:6085,
    2018: before each step, the state is multiplied by exp(-max(0, w * elapsed time + b)) with a weight and a bias for
    each neuron. Frames have no missing features, so that only the state decays.

    Args:
        units: Number of neurons.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> DecayingGRU(8)(keras.ops.ones((2, 5, 3)), keras.ops.ones((2, 5, 1)), keras.ops.ones((2, 5), "bool")).shape
        (2, 8)
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.cell = keras.layers.GRUCell(units, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.cell.build((input_shape[0], input_shape[2]))
        # Not zeros, at which the ramp below has no slope: the rates would never be learned.
        initializer = keras.initializers.RandomUniform(0.0, 0.5)
        self.rate = self.add_weight(shape=(self.units,), initializer=initializer, name="rate")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        super().build(input_shape)

    def call(self, features: Any, elapsed: Any, mask: Any = None) -> Any:
        elapsed = ops.cast(elapsed, features.dtype)
        if mask is not None:
            features, elapsed = _blank(features, mask), _blank(elapsed, mask)
        decay = ops.exp(-ops.relu(elapsed * ops.cast(self.rate, features.dtype) + ops.cast(self.bias, features.dtype)))
        state = ops.zeros_like(features[:, 0, :1]) * ops.zeros((1, self.units), features.dtype)
        for step in range(features.shape[1]):
            after, _ = self.cell(features[:, step], [state * decay[:, step]])
            state = after if mask is None else ops.where(ops.cast(mask, "bool")[:, step, None], after, state)
        return state

    def compute_output_shape(self, input_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="keras_lnn")
class TimeEncoding(keras.layers.Layer):
    """Adds to the features of each frame an encoding of the time since the first frame.

    Sines and cosines whose wavelengths go from 1 to 1,000 median intervals, as transformers encode positions, followed
    by a linear map with learned weights.

    Args:
        waves: Number of wavelengths.
        **kwargs: Passed to :class:`keras.layers.Layer`.

    Example:
        >>> TimeEncoding()(keras.ops.ones((2, 5, 3)), keras.ops.ones((2, 5, 1))).shape
        (2, 5, 3)
    """

    def __init__(self, waves: int = 8, **kwargs: Any) -> None:
        # Times need more digits than half precision has.
        super().__init__(autocast=False, **kwargs)
        self.waves = waves

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(shape=(2 * self.waves, input_shape[-1]), name="kernel")
        super().build(input_shape)

    def call(self, features: Any, elapsed: Any) -> Any:
        # The first frame has an elapsed time of 1; a common shift of all times is learned away.
        time = ops.cumsum(ops.cast(elapsed, "float32"), axis=1)
        spread = ops.arange(self.waves, dtype="float32") / max(self.waves - 1, 1)
        phases = 2 * math.pi * time / ops.exp(spread * math.log(1000.0))
        waves = ops.concatenate([ops.sin(phases), ops.cos(phases)], axis=-1)
        added = ops.matmul(ops.cast(waves, self.compute_dtype), ops.cast(self.kernel, self.compute_dtype))
        return ops.cast(features, self.compute_dtype) + added

    def compute_output_shape(self, input_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "waves": self.waves}


@keras.saving.register_keras_serializable(package="keras_lnn")
class MeanOfFrames(_OverFrames):
    """Returns the mean over the frames of a series, (batch, steps, features) to (batch, features).

    Example:
        >>> frames = keras.ops.array([[[1.0], [3.0], [9.0]]])
        >>> MeanOfFrames()(frames, keras.ops.array([[True, True, False]])).numpy().tolist()
        [[2.0]]
    """

    def call(self, features: Any, is_frame: Any) -> Any:
        count = ops.sum(ops.cast(is_frame, features.dtype), axis=1)[:, None]
        return ops.sum(_blank(features, is_frame), axis=1) / ops.maximum(count, 1)


@keras.saving.register_keras_serializable(package="keras_lnn")
class LastFrame(_OverFrames):
    """Returns the last frame of a series, (batch, steps, features) to (batch, features).

    Example:
        >>> frames = keras.ops.array([[[1.0], [3.0], [9.0]]])
        >>> LastFrame()(frames, keras.ops.array([[True, True, False]])).numpy().tolist()
        [[3.0]]
    """

    def call(self, features: Any, is_frame: Any) -> Any:
        last = ops.sum(ops.cast(is_frame, "int32"), axis=1) - 1
        chosen = ops.one_hot(last, features.shape[1], dtype=features.dtype)
        return ops.sum(_blank(features, is_frame) * chosen[..., None], axis=1)
