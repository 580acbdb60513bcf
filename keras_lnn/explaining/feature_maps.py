"""The feature maps of any functional network: where its convolutions are, their values and their gradients."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_lnn.backend.programs import compile_function
from keras_lnn.backend.tensors import gradients_of
from keras_lnn.errors import InputError
from keras_lnn.explaining.positions import Axes, Axis, axes_after
from keras_lnn.layers import FlippedViews, MeanOfViews

_CONVOLUTIONS = keras.layers.Conv2D | keras.layers.Conv3D | keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D
# What follows a convolution and changes neither the size of its maps nor what they are maps of.
_ELEMENTWISE = (
    keras.layers.BatchNormalization
    | keras.layers.GroupNormalization
    | keras.layers.LayerNormalization
    | keras.layers.Activation
    | keras.layers.ReLU
    | keras.layers.LeakyReLU
    | keras.layers.Dropout
    | keras.layers.SpatialDropout2D
    | keras.layers.SpatialDropout3D
    | keras.layers.Add
)


class Tap(keras.layers.Layer):
    """Returns its input; keeps it, or adds something to it, while :class:`FeatureMaps` calls the network."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.added: Any = None
        self.keeps = False
        self.kept: Any = None

    def call(self, maps: Any) -> Any:
        if self.keeps:
            self.kept = maps
        return maps if self.added is None else maps + self.added

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@dataclasses.dataclass(frozen=True)
class Block:
    """The maps of one convolution, after the normalisation, activation and sum that follow it.

    Args:
        name: Name of the convolution.
        tap: The layer through which the maps go.
        axes: The positions of the maps' cells in the image; without the depth where slices are read one by one.
    """

    name: str
    tap: Tap
    axes: Axes


@dataclasses.dataclass(frozen=True)
class _Call:
    """One call of an operation: the numbers of the tensors that it reads, and its one output in the form of maps."""

    operation: Any
    read: tuple[int, ...]
    output: int
    shape: tuple[int | None, ...]
    tap: Tap


class FeatureMaps:
    """A copy of a network through whose convolutions one can look; the network itself stays as it is.

    The convolutions are those before space is lost: before the first operation that turns the maps into a sequence or
    into features. A network that keeps the size of its images, for segmentation, is seen down to its smallest maps. If
    the network averages over mirror images, the copy reads one image only.

    Args:
        model: A functional model from images (and further inputs) to logits.
        compiled: Whether its functions are compiled, which pays from a few calls on.
    """

    def __init__(self, model: keras.Model, *, compiled: bool = False) -> None:
        self._compiles = compiled
        self._functions: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._calls: list[_Call] = []
        self._tensors: list[Any] = []  # keeps the tensors alive, so that no two have the same number
        self._same: dict[int, int] = {}
        self._model = _copy(model, self._call)
        shape = self._model.inputs[0].shape
        self._image_shape = tuple(shape[1:])
        self.image_axes = tuple(Axis(side) for side in shape[1:-1])
        self.blocks = self._find_blocks()

    def values(self, inputs: Sequence[Any], blocks: Sequence[Block]) -> list[np.ndarray]:
        """Returns the maps of some blocks, (samples, depth or frames if there are any, ..., channels), float32."""

        def kept(inputs: list[Any]) -> list[Any]:
            return self._look(inputs, blocks, [None] * len(blocks))[1]

        found = self._compiled(("values", *blocks), kept)(list(inputs))
        return [self._to_samples(maps, len(inputs[0])) for maps in found]

    def values_and_gradients(
        self, inputs: Sequence[Any], blocks: Sequence[Block], weights: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the maps of some blocks, and the gradients of a weighted sum of the logits with respect to them.

        Args:
            inputs: The inputs of the network.
            blocks: Some blocks.
            weights: The weight of each logit, of the shape of the logits.
        """

        def both(inputs: list[Any], zeros: list[Any], weights: Any) -> tuple[list[Any], list[Any]]:
            def score(added: list[Any]) -> tuple[Any, list[Any]]:
                logits, kept = self._look(inputs, blocks, added)
                return ops.sum(ops.cast(logits, "float32") * weights), kept

            gradients, kept = gradients_of(score, zeros)
            return kept, gradients

        zeros = self._zeros_like_maps(len(inputs[0]), blocks)
        found = self._compiled(("gradients", *blocks), both)(list(inputs), zeros, weights)
        values, gradients = ([self._to_samples(maps, len(inputs[0])) for maps in some] for some in found)
        return values, gradients

    def _look(self, inputs: list[Any], blocks: Sequence[Block], added: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Returns the logits and the maps of some blocks while something is added to these."""
        for block, values in zip(blocks, added, strict=True):
            block.tap.keeps, block.tap.added = True, values
        try:
            logits = self._model(_as_model_inputs(inputs), training=False)
            return logits, [block.tap.kept for block in blocks]
        finally:
            for block in blocks:
                block.tap.keeps, block.tap.kept, block.tap.added = False, None, None

    def _compiled(self, key: tuple[Any, ...], function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a compiled version of a function, the same for the same key; the function itself if not compiled."""
        if not self._compiles:
            return function
        if key not in self._functions:
            self._functions[key] = compile_function(function)
        return self._functions[key]

    def _zeros_like_maps(self, samples: int, blocks: Sequence[Block]) -> list[np.ndarray]:
        """Returns zeros of the shape of the maps of some blocks, as the network computes them."""
        images = [samples * self._image_shape[0] if self._reads_slices(block) else samples for block in blocks]
        return [np.zeros((n, *block.tap.output.shape[1:]), np.float32) for n, block in zip(images, blocks, strict=True)]

    def _reads_slices(self, block: Block) -> bool:
        """Returns whether the slices or frames of a sample are images of their own in a block."""
        return len(block.axes) < len(self.image_axes)

    def _to_samples(self, maps: Any, samples: int) -> np.ndarray:
        """Returns maps with the slices of a sample beside each other again."""
        maps = ops.convert_to_numpy(ops.cast(maps, "float32"))
        return maps if len(maps) == samples else maps.reshape(samples, -1, *maps.shape[1:])

    def _call(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        """Calls an operation while the copy is built, and lets its output go through a tap if it is like maps."""
        outputs = operation(*arguments, **options)
        read = tuple(self._number(tensor) for tensor in keras.tree.flatten((arguments, options)) if _is_tensor(tensor))
        if isinstance(operation, keras.Model):
            for inner, outer in zip(operation.inputs, read, strict=True):
                self._same[self._number(inner)] = outer
            for inner, outer in zip(operation.outputs, keras.tree.flatten(outputs), strict=True):
                self._same[self._number(outer)] = self._number(inner)
            return outputs
        if not _is_tensor(outputs) or len(outputs.shape) < 4:
            return outputs
        tap = Tap()
        tapped = tap(outputs)
        self._calls.append(_Call(operation, read, self._number(tapped), tuple(outputs.shape), tap))
        return tapped

    def _number(self, tensor: Any) -> int:
        self._tensors.append(tensor)
        return id(tensor)

    def _source(self, number: int) -> int:
        while number in self._same:
            number = self._same[number]
        return number

    def _find_blocks(self) -> list[Block]:
        """Returns the blocks in the order in which they are computed."""
        axes: dict[int, Axes] = {id(self._model.inputs[0]): self.image_axes}
        blocks: dict[int, Block] = {}
        readers = collections.Counter(self._source(number) for call in self._calls for number in set(call.read))
        for call in self._calls:
            if isinstance(call.operation, keras.layers.Permute):
                return []  # the axes of the maps are no longer those of the image
            sides = tuple(side for side in call.shape[1:-1] if side is not None)
            sources = [source for source in map(self._source, call.read) if len(axes.get(source, ())) >= len(sides)]
            if not sources or len(sides) < len(call.shape) - 2:
                continue
            axes[call.output] = axes_after(call.operation, axes[sources[0]], sides)
            name = call.operation.name if isinstance(call.operation, _CONVOLUTIONS) else None
            if isinstance(call.operation, _ELEMENTWISE):
                # Maps that something else reads too, such as a shortcut, stay a block of their own.
                for source in [source for source in blocks if source in sources]:
                    name = blocks[source].name
                    if readers[source] == 1:
                        del blocks[source]
            if name is not None:
                blocks[call.output] = Block(name, call.tap, axes[call.output])
        found = [block for block in blocks.values() if max(axis.cells for axis in block.axes) > 1]
        return _up_to_the_smallest(found) if len(self._model.outputs[0].shape) > 2 else found


def require_blocks(maps: FeatureMaps, method: str) -> list[Block]:
    """Returns the blocks of a network, which must have some.

    Args:
        maps: The feature maps of the network.
        method: Name of the method that needs them, for the message.
    """
    if not maps.blocks:
        raise InputError(
            f"{method} needs convolutions whose maps have the axes of the image. Received: a network without. "
            "Choose integrated-gradients or occlusion."
        )
    return maps.blocks


def find_view_axes(model: keras.Model) -> tuple[int, ...]:
    """Returns the axes along which a network mirrors its images to average over the views; none if it does not."""
    return next((layer.axes for layer in model.layers if isinstance(layer, FlippedViews)), ())


def _up_to_the_smallest(blocks: list[Block]) -> list[Block]:
    """Returns the blocks up to the last of those with the fewest cells."""
    counts = [int(np.prod([axis.cells for axis in block.axes])) for block in blocks]
    return blocks[: len(counts) - counts[::-1].index(min(counts))] if blocks else []


def _copy(model: keras.Model, call: Callable[..., Any]) -> keras.Model:
    """Returns a copy of a model that is built by a function which calls each operation."""
    copied: list[tuple[Any, Any]] = []

    def copy_layer(layer: Any) -> Any:
        if isinstance(layer, FlippedViews | MeanOfViews):
            return keras.layers.Identity()
        new = type(layer).from_config(layer.get_config())
        if isinstance(layer, keras.layers.Layer):
            copied.append((layer, new))
        return new

    with _deep_recursion():
        copy = keras.models.clone_model(model, clone_function=copy_layer, call_function=call, recursive=True)
    for layer, new in copied:
        new.set_weights(layer.get_weights())
    return copy


@contextlib.contextmanager
def _deep_recursion() -> Generator[None]:
    """Lets Keras follow the graph of a deep network, in which it calls itself once for each operation."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 10_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _as_model_inputs(inputs: Sequence[Any]) -> Any:
    return list(inputs) if len(inputs) > 1 else inputs[0]
