"""Maxima of windows with a gradient that XLA computes fast.

XLA has one instruction for the gradient of a maximum of windows, and on a processor it runs it as a plain loop: beside
convolutions it can take most of a training step. Here the gradient is elementwise.
"""

import functools
import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.backend.devices import has_accelerator
from keras_lnn.backend.programs import compiles_all

_KINDS = (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D)


def give_fast_gradients(model: keras.Model) -> None:
    """Makes layers that take maxima of windows use :func:`take_maxima` wherever XLA compiles them for a processor.

    The layers remain those of Keras: they are saved and loaded as before.

    Args:
        model: The model.
    """
    for layer in model._flatten_layers(include_self=False):
        is_usual = type(layer) in _KINDS and layer.padding == "valid" and layer.data_format == "channels_last"
        if is_usual and "call" not in vars(layer):
            layer.call = functools.partial(_call, layer.call, tuple(layer.pool_size), tuple(layer.strides))


def _call(plain: Any, sizes: tuple[int, ...], strides: tuple[int, ...], inputs: Any) -> Any:
    known = all(side is not None for side in inputs.shape[1:])
    is_slow = known and compiles_all() and not has_accelerator()
    return take_maxima(inputs, sizes, strides) if is_slow else plain(inputs)


def take_maxima(maps: Any, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Returns the maximum of each window; the first one of several equal values has the gradient.

    Args:
        maps: (batch, ..., channels), of known sides.
        sizes: Sides of a window.
        strides: Distances between windows; no window reaches beyond the maps.
    """

    @ops.custom_gradient
    def take(maps: Any) -> tuple[Any, Any]:
        maxima = ops.max_pool(maps, sizes, strides, "valid", "channels_last")

        def gradient(*args: Any, upstream: Any = None) -> Any:
            return spread_back(maps, maxima, args[0] if upstream is None else upstream, sizes, strides)

        return maxima, gradient

    return take(maps)


def spread_back(maps: Any, maxima: Any, upstream: Any, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Returns the gradient of the maps.

    With strides of two, the even and the odd places of a side are computed by themselves. Each has the gradients of
    some places of the windows, moved by whole strides, so that nothing is scattered.
    """
    step, sides, counts = np.array(strides), np.array(maps.shape[1:-1]), np.array(maxima.shape[1:-1])
    gradients, taken = {}, ops.zeros_like(maxima, dtype="bool")
    for place in itertools.product(*map(range, sizes)):
        cuts = map(slice, place, (place + step * (counts - 1) + 1).tolist(), strides)
        is_maximum = maps[(slice(None), *cuts)] == maxima
        first = ops.logical_and(is_maximum, ops.logical_not(taken))
        gradients[place] = ops.where(first, upstream, ops.zeros_like(upstream))
        taken = ops.logical_or(taken, is_maximum)
    lengths = np.maximum(-(-sides // step), counts + (np.array(sizes) - 1) // step)
    phases: list[Any] = []
    for phase in itertools.product(*map(range, strides)):
        parts = []
        for place, values in gradients.items():
            moved, rest = np.divmod(np.subtract(place, phase), step)
            if not rest.any():
                room = np.stack([moved, lengths - counts - moved], axis=1).tolist()
                parts.append(ops.pad(values, [[0, 0], *room, [0, 0]]))
        # With strides longer than windows, some places are in none; the first one always is.
        phases.append(sum(parts[1:], parts[0]) if parts else ops.zeros_like(phases[0]))
    rank = len(strides)
    joined = ops.reshape(ops.stack(phases), (*strides, -1, *lengths.tolist(), maps.shape[-1]))
    order = [rank, *(axis for side in range(rank) for axis in (rank + 1 + side, side)), 2 * rank + 1]
    joined = ops.reshape(ops.transpose(joined, order), (-1, *(lengths * step).tolist(), maps.shape[-1]))
    return joined[(slice(None), *map(slice, sides.tolist()))]
