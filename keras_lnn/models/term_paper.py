"""The 30 small networks of a term paper on liquid networks for MedMNIST 3D, built from one table of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import keras
from keras import layers, ops
from ncps.wirings import AutoNCP, FullyConnected, Wiring

from keras_lnn.errors import InputError
from keras_lnn.layers import LTC, SingleLogit, apply_to_slices
from keras_lnn.models.backbones import term_paper_stem
from keras_lnn.models.blocks import require_image_shape
from keras_lnn.models.ranges import Choice
from keras_lnn.registry import Builder, register_networks

Axis = Literal["depth", "height", "width"]
RecurOver = Literal["slices", "batch"]

_AXES = {"depth": 1, "height": 2, "width": 3}
_RECURRENT = {"LTC", "LSTM", "SimpleRNN"}


def _check(name: str, image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 4:
        raise InputError(
            f"Model {name} reads volumes (depth, height, width, channels). Received: shape {image_shape}. "
            "Choose another model or data set."
        )
    require_image_shape(image_shape, smallest_side=20, volumes=True, model=name)


def _apply_layer(words: str, features: Any, logits: int, recur_over: RecurOver) -> Any:
    kind, *arguments = words.replace("outputs", str(logits)).split()
    layer = _make_layer(kind, arguments)
    if kind in _RECURRENT and recur_over == "batch":
        return ops.swapaxes(layer(ops.swapaxes(features, 0, 1)), 0, 1)
    return layer(features)


def _make_layer(kind: str, arguments: Sequence[str]) -> layers.Layer:
    if kind == "LTC":
        wiring, units, motor_neurons = arguments
        return LTC(_make_wiring(wiring, int(units), int(motor_neurons)), return_sequences=True)
    makers: dict[str, Callable[..., layers.Layer]] = {
        "dense": lambda units: layers.Dense(int(units)),
        "relu": layers.ReLU,
        "dropout": lambda rate: layers.Dropout(float(rate)),
        "batch-norm": lambda: layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
        "LSTM": lambda units: layers.LSTM(int(units), return_sequences=True),
        "SimpleRNN": lambda units: layers.SimpleRNN(int(units), return_sequences=True),
    }
    return makers[kind](*arguments)


def _make_wiring(kind: str, units: int, motor_neurons: int) -> Wiring:
    if kind == "FullyConnected":
        return FullyConnected(units, motor_neurons)
    if motor_neurons > units - 3:
        raise InputError(
            f"An AutoNCP of {units} neurons has at most {units - 3} outputs. Received: {motor_neurons}. "
            "Choose a network with more neurons."
        )
    return AutoNCP(units, motor_neurons)


def _describe(facts: Mapping[str, Any]) -> str:
    parts = [words.replace(" outputs", "") for words in facts["layers"]]
    shown = [part for part in parts if part not in ("relu", "dense")]
    return f"Convolutions ({facts['stem']}) on each slice, then {', '.join(shown) or 'dense layers'}; mean over slices."


@register_networks(
    "term_paper.yaml",
    family="term paper",
    reference_data="adrenalmnist3d",
    epochs=500,
    batch_size=64,
    optimizer="adam",
    learning_rate=5e-4,
    calibration="none",
    monitor="val_loss",
    early_stopping=10,
    early_stopping_margin=1e-3,
    keep="last",
)
def term_paper_network(name: str, facts: Mapping[str, Any]) -> Builder:
    """Returns the builder of one network of the table.

    The protocol is the published one: training stops once the validation loss has been more than .001 above its best
    in ten epochs since then, and the last epoch is tested. The published parameter counts are met; those of LSTM and
    SimpleRNN are smaller by the second bias vector, which PyTorch has and Keras does not.

    Args:
        name: Published name of the network.
        facts: Its stem and layers.
    """

    def build(
        image_shape: tuple[int, ...],
        outputs: int,
        *,
        axis: Annotated[Axis, Choice(("depth", "height", "width"))] = "depth",
        recur_over: RecurOver = "slices",
        single_logit: bool = True,
    ) -> keras.Model:
        """Builds a network that reads a volume slice by slice.

        Args:
            image_shape: (depth, height, width, channels).
            outputs: Number of logits.
            axis: Axis along which the volume is cut into slices.
            recur_over: What recurrent layers recur over. ``batch`` is the mistake of the published LSTM and SimpleRNN
                runs: every slice position is a sequence over the samples of a batch, so that a prediction depends on
                the other samples in its batch.
            single_logit: Whether one logit predicts two classes, as published; two labels per image need ``no``.
        """
        _check(name, image_shape)
        inputs = keras.Input(image_shape)
        pixels = layers.Rescaling(1 / 255, name="scale_pixels")(inputs)
        if axis != "depth":
            order = [1, 2, 3, 4]
            order[0], order[_AXES[axis] - 1] = _AXES[axis], 1
            pixels = layers.Permute(order)(pixels)
        flatten = layers.Flatten()
        features = apply_to_slices(lambda slices: flatten(term_paper_stem(slices, facts["stem"])), pixels)
        logits = 1 if outputs == 2 and single_logit else outputs
        for layer in facts["layers"]:
            features = _apply_layer(layer, features, logits, recur_over)
        pooled = layers.GlobalAveragePooling1D()(features)
        for layer in facts.get("after_mean", ()):
            pooled = _apply_layer(layer, pooled, logits, recur_over)
        return keras.Model(inputs, SingleLogit(name="two_classes")(pooled) if logits < outputs else pooled)

    build.__name__ = name
    build.__doc__ = f"{_describe(facts)}\n\n{build.__doc__}"
    return build
