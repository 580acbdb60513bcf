"""Liquid networks: convolutions, then a wired CfC that reads their maps as a sequence."""

from typing import Annotated, Literal

import keras
from annotated_types import Ge, Lt
from ncps.wirings import AutoNCP

from keras_lnn.errors import InputError
from keras_lnn.layers import Channels, LearnedScale, apply_to_slices
from keras_lnn.models.backbones import lnn_stem
from keras_lnn.models.blocks import liquid_layers, require_image_shape, scale_pixels
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import register_model


@register_model(
    family="liquid",
    reference_data="breastmnist",
    epochs=50,
    batch_size=128,
    optimizer="adam",
    learning_rate=1e-3,
    calibration="none",
)
def lnn(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    units: Annotated[int, Ge(4), Range(12, 48)] | None = None,
    sequence_length: Annotated[int, Ge(1), Choice((8, 16, 32, 64))] = 32,
    sparsity: Annotated[float, Ge(0.1), Lt(1), Range(0.2, 0.8)] = 0.5,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.5)] = 0.0,
    over_slices: Literal["max", "mean"] = "max",
    logit_scale: bool | None = None,
    wiring_seed: int = 22222,
    layers: Literal["keras_lnn", "ncps"] = "keras_lnn",
) -> keras.Model:
    """Four convolutions and a CfC with a neural circuit policy that reads their channels as a sequence.

    At 28x28x1 with two outputs this is the published network for BreastMNIST, with 263,048 trainable parameters. Larger
    images are halved by max pooling after the first convolutions, once for each doubling from 28 on, so that the
    sequence and the number of parameters stay the same; more channels change the first convolution only. Volumes are
    read slice by slice: every slice goes through the same convolutions, and the slices are the sequence. The outputs of
    all slices are used, since by the last one the network has forgotten those in the middle.

    Args:
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Number of logits, which are the wiring's motor neurons.
        units: Neurons of the wiring, at least three more than the outputs; 17 more (so 19 for two) if not given.
        sequence_length: Number of steps into which the 128 channels are cut (images only).
        sparsity: Fraction of synapses that the wiring leaves out.
        dropout: Dropout rate of each step's features before the CfC.
        over_slices: Whether the logits are the maximum of the outputs over the slices or their mean (volumes only).
        logit_scale: Whether the outputs, which are tanh, are multiplied by a learned number; without it the softmax of
            ten classes is at most .45. If not given they are, except for two outputs, as in the published network.
        wiring_seed: Seed of the random wiring.
        layers: Source of the CfC: ours, or that of ``ncps.keras`` to compare with, which is another function (see
            ``version`` of :class:`keras_lnn.layers.CfC`).
    """
    require_image_shape(image_shape, smallest_side=12, volumes=True, model="lnn")
    units = outputs + 17 if units is None else units
    if units < outputs + 3:
        raise InputError(f"units must be at least {outputs + 3} for {outputs} outputs. Received: {units}.")
    inputs = keras.Input(image_shape)
    pixels = scale_pixels(inputs)
    volumes = len(image_shape) == 4
    if volumes:
        flatten = keras.layers.Flatten()
        maps = apply_to_slices(lambda slices: flatten(lnn_stem(slices)), pixels)
    else:
        maps = Channels(sequence_length)(lnn_stem(pixels))
    if dropout:
        maps = keras.layers.Dropout(dropout)(maps)
    wiring = AutoNCP(units, outputs, sparsity_level=sparsity, seed=wiring_seed)
    logits = liquid_layers(layers).CfC(wiring, return_sequences=volumes, name="cfc")(maps)
    if volumes:
        pooling = keras.layers.GlobalMaxPooling1D if over_slices == "max" else keras.layers.GlobalAveragePooling1D
        logits = pooling()(logits)
    if outputs != 2 if logit_scale is None else logit_scale:
        logits = LearnedScale(name="logit_scale")(logits)
    return keras.Model(inputs, logits)
