"""CRNet and its heads: a small convolutional network whose maps a recurrent layer reads as one or several sequences."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import keras
from annotated_types import Ge, Lt
from keras import layers
from ncps.wirings import NCP
from pydantic import StringConstraints

from keras_lnn.errors import InputError, suggest
from keras_lnn.layers import (
    Channels,
    Columns,
    Patches,
    Rows,
    ScanOrder,
    SequenceLayer,
    Slices,
    apply_to_slices,
)
from keras_lnn.models.backbones import BACKBONES
from keras_lnn.models.blocks import Initialisation, make_initializer, require_image_shape
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.models.recurrences import Directions, Recurrence, is_liquid, make_recurrence
from keras_lnn.registry import Builder, register_model, register_networks

SEQUENCES = ("rows", "columns", "slices", "channels", "patches")
# Published dropout rate before dense layers on the maps and on each step.
_HIDDEN_DROPOUT = 0.5
_FAMILY: dict[str, Any] = {"family": "crnet", "reference_data": "breastmnist"}
_PROTOCOL: dict[str, Any] = {
    "epochs": 360,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "loss": "bce-dice",
    "schedule": "cosine-restarts",
    "restart_epochs": 10,
    "monitor": "val_score",
    "augmentation": "crnet",
    "calibration": "none",
}


@register_model(**_FAMILY, **_PROTOCOL)
def crnet(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    backbone: Annotated[str, Choice(("crnet", "lnn", "cnn", "recurrent"))] = "crnet",
    resize: Annotated[int, Ge(8)] | None = None,
    pool: Annotated[int, Ge(1)] = 1,
    map_side: Annotated[int, Ge(1), Choice((4, 6, 8))] | None = 6,
    map_channels: Annotated[int, Ge(1), Choice((8, 16, 32))] = 16,
    sequence: Annotated[str, Choice(("rows", "columns", "channels", "patches", "rows+columns"))] = "channels",
    patch_size: Annotated[int, Ge(1), Choice((2, 4))] = 2,
    patch_stride: Annotated[int, Ge(1)] | None = None,
    order: Annotated[ScanOrder, Choice(("rows", "columns", "zigzag", "hilbert"))] = "rows",
    directions: Annotated[Directions, Choice(("forwards", "both"))] = "forwards",
    step_units: Annotated[int, Ge(1)] | None = None,
    recurrence: Annotated[Recurrence, Choice(("ltc", "cfc", "lstm", "gru"))] = "ltc",
    inter_neurons: Annotated[int, Ge(2), Choice((12, 24, 48))] = 12,
    command_neurons: Annotated[int, Ge(2), Choice((6, 12, 24))] = 6,
    motor_neurons: Annotated[int, Ge(1), Choice((1, 2, 4))] = 1,
    mix_units: Annotated[int, Ge(1)] | None = None,
    hidden: Annotated[str, StringConstraints(pattern=r"^(\d+(-\d+)*)?$")] = "",
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.5)] = 0.3,
    initialisation: Initialisation = "he-normal",
    wiring_seed: int = 22222,
) -> keras.Model:
    """A network of any convolutions, and any recurrence that reads their maps as sequences; by default crnet-zncp32.

    The maps of the backbone go through a bottleneck, a 3x3 convolution and averages over an even grid, and are read as
    one or several sequences. The outputs of all steps of each sequence are used. A neural circuit policy has the
    published proportions: each sensory input reaches half of the inter neurons, and each inter neuron two thirds of the
    command neurons; the number of recurrent synapses, and of synapses to each motor neuron, is that of the command
    neurons. Recurrences without a wiring have as many units as the policy has neurons, and then a dense layer with as
    many outputs per step as the policy has motor neurons.

    Args:
        image_shape: (height, width, channels) or (depth, height, width, channels); volumes are read slice by slice.
        outputs: Number of logits.
        backbone: Name of the convolutions, see :mod:`keras_lnn.models.backbones`.
        resize: Side to which images are first resized, since the backbone is designed for 224; None to keep their size.
        pool: Window of the average pooling over the maps before the head.
        map_side: Side of the maps after the bottleneck; None for no bottleneck.
        map_channels: Channels after the bottleneck.
        sequence: ``rows``, ``columns``, ``slices`` (of volumes), ``channels``, ``patches``, several joined by ``+``, or
            ``none`` for a dense head on the flat maps.
        patch_size: Side of the patches.
        patch_stride: Distance from one patch to the next, the size if not given; with less, patches overlap.
        order: Order of the patches.
        directions: Direction in which the sequence is read; for both, the outputs of two layers are concatenated.
        step_units: Width of a dense layer on each step before the recurrence; no such layer if not given.
        recurrence: The layer that reads the sequence; ``dense`` layers see one step at a time.
        inter_neurons: Inter neurons of the policy.
        command_neurons: Command neurons of the policy.
        motor_neurons: Motor neurons of the policy: the outputs of each step.
        mix_units: Number of features to which each sequence is reduced before several are joined; all if not given.
        hidden: Widths of dense layers on the flat maps, such as 1000-100 (only without a sequence).
        dropout: Dropout rate before the last layer.
        initialisation: Initialisation of convolutions and dense layers, where the backbone leaves the choice.
        wiring_seed: Seed of the random wiring.
    """
    names = _check_sequences(sequence, hidden, recurrence, directions)
    maps, inputs = _make_maps(image_shape, backbone, resize, pool, map_side, map_channels, initialisation)
    if not names:
        return keras.Model(inputs, _apply_dense_head(maps, hidden, dropout, outputs, initialisation))
    neurons = (inter_neurons, command_neurons, motor_neurons)
    readings = []
    for name in names:
        steps = _make_sequence(name, patch_size, patch_stride, order)(maps)
        if step_units is not None:
            widened = layers.Dense(step_units, "relu", kernel_initializer=make_initializer(initialisation))
            steps = widened(layers.Dropout(_HIDDEN_DROPOUT)(steps))
        reading = layers.Flatten()(_make_reader(name, recurrence, directions, neurons, wiring_seed)(steps))
        readings.append(reading if mix_units is None else layers.Dense(mix_units)(layers.Dropout(dropout)(reading)))
    features = layers.Concatenate()(readings) if len(readings) > 1 else readings[0]
    features = layers.Dropout(dropout)(features) if mix_units is None else features
    return keras.Model(inputs, layers.Dense(outputs, name="logits")(features))


def _check_sequences(sequence: str, hidden: str, recurrence: Recurrence, directions: Directions) -> list[str]:
    """Returns the names of the sequences, none for a dense head, after checking what is given with them."""
    if sequence == "none":
        return []
    if hidden:
        raise InputError(
            f"hidden is for a head without a sequence. Received: {hidden} with sequence={sequence}. Give sequence=none,"
            " or leave hidden out."
        )
    if recurrence == "dense" and directions != "forwards":
        raise InputError(
            f"Dense layers see one step at a time, so they have no directions. Received: directions={directions}. Leave"
            " it out, or choose another recurrence."
        )
    names = sequence.split("+")
    if len(set(names)) < len(names):
        raise InputError(
            f"Each sequence is read once. Received: {sequence}. Name it once; directions=both reads it twice."
        )
    return names


def _describe(signature: inspect.Signature) -> str:
    facts = {name: parameter.default for name, parameter in signature.parameters.items()}
    side, channels = facts["map_side"], facts["map_channels"]
    maps = f" of maps {side}x{side}x{channels}" if side else ""
    if facts["sequence"] == "none":
        return f"CRNet with a dense head{maps}, {facts['hidden'] or 'no'} hidden units."
    neurons = "/".join(str(facts[f"{kind}_neurons"]) for kind in ("inter", "command", "motor"))
    both = ", both directions" if facts["directions"] == "both" else ""
    read = facts["sequence"].replace("+", " and ")
    if "patches" in read:
        read = f"{facts['patch_size']}x{facts['patch_size']} patches, {facts['order']}"
    return f"CRNet whose LTC ({neurons}) reads the {read}{maps}{both}."


def _make_maps(
    image_shape: tuple[int, ...],
    backbone: str,
    resize: int | None,
    pool: int,
    map_side: int | None,
    map_channels: int,
    initialisation: Initialisation,
) -> tuple[Any, Any]:
    """Returns the maps that the head reads, and the model's inputs."""
    if backbone not in BACKBONES:
        raise InputError(f"There is no backbone {backbone!r}. {suggest(backbone, BACKBONES)}")
    stem, smallest_side = BACKBONES[backbone]
    require_image_shape(image_shape, 1 if resize else smallest_side, volumes=True, model="crnet")
    if resize and resize < smallest_side:
        raise InputError(f"The backbone {backbone} needs at least {smallest_side} pixels per side. Received: {resize}.")
    options = {"initialisation": initialisation} if backbone.startswith("crnet") else {}

    def make(images: Any) -> Any:
        maps = stem(layers.Resizing(resize, resize)(images) if resize else images, **options)
        if pool > 1:
            _require_at_most(pool, maps, "pool")
            maps = layers.AveragePooling2D(pool)(maps)
        if map_side is not None:
            bottleneck = make_initializer(initialisation)
            maps = layers.Conv2D(map_channels, 3, padding="same", kernel_initializer=bottleneck)(maps)
            maps = layers.AdaptiveAveragePooling2D(map_side)(maps)
        return maps

    inputs = keras.Input(image_shape)
    pixels = layers.Rescaling(1 / 255, name="scale_pixels")(inputs)
    return (apply_to_slices(make, pixels) if len(image_shape) == 4 else make(pixels)), inputs


def _require_at_most(side: int, maps: Any, name: str) -> None:
    if side > min(maps.shape[1:-1]):
        size = "x".join(map(str, maps.shape[1:-1]))
        raise InputError(f"{name} must not be larger than the map. Received: {side} on a map of {size}.")


def _apply_dense_head(maps: Any, hidden: str, dropout: float, outputs: int, initialisation: Initialisation) -> Any:
    features = layers.Flatten()(maps)
    for width in filter(None, hidden.split("-")):
        dense = layers.Dense(int(width), "relu", kernel_initializer=make_initializer(initialisation))
        features = dense(layers.Dropout(_HIDDEN_DROPOUT)(features))
    if dropout:
        features = layers.Dropout(dropout)(features)
    return layers.Dense(outputs, name="logits")(features)


def _make_sequence(name: str, patch_size: int, patch_stride: int | None, order: ScanOrder) -> SequenceLayer:
    if name == "patches":
        return Patches(patch_size, patch_stride, order)
    makers = {"rows": Rows, "columns": Columns, "slices": Slices, "channels": Channels}
    if name not in makers:
        raise InputError(f"There is no sequence {name!r}. {suggest(name, SEQUENCES)} Join several by +, or give none.")
    return makers[name]()


def _make_reader(
    name: str, recurrence: Recurrence, directions: Directions, neurons: tuple[int, int, int], wiring_seed: int
) -> Callable[[Any], Any]:
    """Returns a function from (batch, steps, features) to (batch, steps, outputs), or twice the outputs for both."""
    label = f"{recurrence}_{name}"
    units, outputs = sum(neurons), neurons[-1]
    if recurrence == "dense":
        each_step = layers.Dense(units, "tanh", name=label)
        return lambda steps: layers.Dense(outputs)(each_step(steps))
    policy, go_backwards = make_policy(*neurons, wiring_seed), directions == "backwards"
    layer = make_recurrence(recurrence, policy, go_backwards=go_backwards, name=label)
    if directions == "both":
        layer, outputs = layers.Bidirectional(layer, name=f"both_{label}"), 2 * outputs
    return layer if is_liquid(recurrence) else lambda steps: layers.Dense(outputs)(layer(steps))


def make_policy(inter: int, command: int, motor: int, seed: int) -> NCP:
    """Returns a neural circuit policy in the published proportions."""
    return NCP(
        inter_neurons=inter,
        command_neurons=command,
        motor_neurons=motor,
        sensory_fanout=inter // 2,
        inter_fanout=max(1, round(command * 2 / 3)),
        recurrent_command_synapses=command,
        motor_fanin=command,
        seed=seed,
    )


@register_networks("crnet.yaml", **_FAMILY, **_PROTOCOL)
def crnet_head(name: str, facts: Mapping[str, Any]) -> Builder:
    """Returns the builder of a published head: :func:`crnet` with other defaults.

    Args:
        name: Published name of the head.
        facts: Arguments of :func:`crnet`.
    """

    @functools.wraps(crnet)
    def build(image_shape: tuple[int, ...], outputs: int, **arguments: Any) -> keras.Model:
        return crnet(image_shape, outputs, **{**facts, **arguments})

    signature = inspect.signature(crnet)
    changed = [part.replace(default=facts.get(key, part.default)) for key, part in signature.parameters.items()]
    build.__name__ = name
    signature = signature.replace(parameters=changed)
    vars(build)["__signature__"] = signature
    build.__doc__ = f"{_describe(signature)}\n\n{inspect.getdoc(crnet)}"
    return build
