"""Networks for series of images at uneven times: any network of images for each frame, then a head over the frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import keras
from annotated_types import Ge, Lt
from ncps.wirings import AutoNCP

from keras_lnn.errors import InputError
from keras_lnn.layers import LTC, CfC, ElapsedTime, apply_to_slices
from keras_lnn.layers.series import DecayingGRU, LastFrame, MeanOfFrames, TimeEncoding
from keras_lnn.models.blocks import require_image_shape, scale_pixels
from keras_lnn.models.ranges import Choice, Range
from keras_lnn.registry import build_model, get_model, register_model

Head = Literal["cfc", "ltc", "lstm", "gru", "gru-d", "transformer", "mean", "last"]
Times = Literal["elapsed", "feature", "both", "none"]
# Heads that take elapsed times by their equations; to the others they are one more feature.
_TIMED = ("cfc", "ltc", "gru-d", "transformer")
_DEFAULT_TIMES: dict[str, Times] = {
    "cfc": "both",
    "ltc": "both",
    "gru-d": "elapsed",
    "transformer": "elapsed",
    "mean": "none",
    "last": "none",
}
# Synapses of the published strength, from so many features, are so fast that an LTC forgets the frame before.
_WEAK_SYNAPSES = {"w": (0.001, 0.05), "sensory_w": (0.001, 0.05)}
# What a head's parameters are for a number of features f and of units u, for a width of about the same size.
_PARAMETERS: dict[str, Callable[[int, int], int]] = {
    "cfc": lambda f, u: 4 * (f + u + 1) * u,
    "ltc": lambda f, u: 4 * (f + u) * u + 3 * u + 2 * f,
    "lstm": lambda f, u: 4 * (f + u + 1) * u,
    "gru": lambda f, u: 3 * (f + u + 2) * u,
    "gru-d": lambda f, u: 3 * (f + u + 2) * u + 2 * u,
    "transformer": lambda f, u: (f + 1) * u + (8 * u + 11) * u + 16 * u,
    "mean": lambda f, u: (f + 1) * u,
    "last": lambda f, u: (f + 1) * u,
}


@register_model(
    family="series",
    reference_data="phantom-perfusion",
    reads="series",
    epochs=30,
    batch_size=32,
    optimizer="adam",
    learning_rate=3e-3,
    schedule="cosine",
)
def lnn_series(
    image_shape: tuple[int, ...],
    outputs: int,
    *,
    backbone: str = "",
    features: Annotated[int, Ge(1), Choice((16, 32, 64))] = 32,
    # A search proposes nothing that is impossible beside arguments that the user gives: other heads are not wired, and
    # take times in other ways.
    head: Annotated[Head, Choice(("cfc", "ltc"))] = "cfc",
    times: Times | None = None,
    units: Annotated[int, Ge(1), Range(8, 64, 8)] | None = None,
    wired: bool = False,
    mixed_memory: bool | None = None,
    dropout: Annotated[float, Ge(0), Lt(1), Range(0.0, 0.5)] = 0.1,
    wiring_seed: int = 22222,
) -> keras.Model:
    """Convolutions on each frame, then a liquid layer that reads frames with the time that passed between them.

    Mixed memory and times in both ways are the defaults of liquid heads: over five seeds on the embedded series, a CfC
    without memory was as good on training's sampling but lost more where frames were missing, and an LTC without memory
    was behind. An LSTM or a GRU with the time as a feature was as good as the CfC there.

    The second input holds the time of each frame in the unit of the data, NaN where a series has no frame. Elapsed
    times are divided by their median in the training data, which is a weight of the model. By default the head has
    about 9,000 parameters, whichever it is, so that ``head=lstm`` and the others are controls of the same size.

    Args:
        image_shape: (frames, height, width, channels).
        outputs: Number of logits.
        backbone: Name of a network of images that gives the features of each frame, with one set of weights; four small
            convolutions if empty.
        features: Number of features of each frame.
        head: What reads the frames: ``cfc``, ``ltc``; ``lstm``, ``gru``; ``gru-d``, whose state decays with time; a
            ``transformer`` with an encoding of time; the ``mean`` of the frames or the ``last`` one.
        times: Whether the head takes elapsed times by its equations (``elapsed``), as one more feature of each frame
            (``feature``), in both ways (``both``), or not at all (``none``: all intervals are alike). If not given,
            ``both`` for liquid heads, ``elapsed`` for others that can, else ``feature``; ``none`` for ``mean`` and
            ``last``.
        units: Neurons of the head; as many as give about 9,000 parameters if not given.
        wired: Whether a liquid head has the wiring of a neural circuit policy.
        mixed_memory: Whether a liquid head has an LSTM as its memory; if not given, it has.
        dropout: Dropout rate of each frame's features.
        wiring_seed: Seed of the wiring.
    """
    if len(image_shape) != 4:
        raise InputError(
            f"Model lnn-series reads series (frames, height, width, channels). Received: shape {image_shape}. "
            f"Choose data of series, or another model."
        )
    require_image_shape(image_shape, smallest_side=12, volumes=True, model="lnn-series")
    times = times or _DEFAULT_TIMES.get(head, "feature")
    _require_possible(head, times, wired, bool(mixed_memory))
    mixed_memory = head in ("cfc", "ltc") if mixed_memory is None else mixed_memory
    images = keras.Input(image_shape, name="images")
    taken = keras.Input(image_shape[:1], name="times")
    elapsed, is_frame = ElapsedTime(name="elapsed_time")(taken)
    frames = apply_to_slices(_make_backbone(backbone, image_shape[1:], features), images)
    if dropout:
        frames = keras.layers.Dropout(dropout)(frames)
    if times in ("feature", "both"):
        frames = keras.layers.Concatenate()([frames, elapsed])
    units = units or find_units(head, frames.shape[-1], outputs, mixed_memory=mixed_memory)
    known = elapsed if times in ("elapsed", "both") else None
    if head in ("cfc", "ltc"):
        width = AutoNCP(units, max(units // 4, 1), seed=wiring_seed) if wired else units
        read = _read_by_liquid_layer(head, width, mixed_memory, frames, known, is_frame)
    else:
        read = _read_by_other_head(head, units, frames, known, is_frame)
    return keras.Model([images, taken], keras.layers.Dense(outputs, name="logits")(read))


def _read_by_liquid_layer(
    head: Head, width: int | AutoNCP, mixed_memory: bool, frames: Any, elapsed: Any, is_frame: Any
) -> Any:
    """Returns the output of a liquid layer after the last frame; without elapsed times all intervals are alike."""
    options: dict[str, Any] = {"mixed_memory": mixed_memory, "name": head}
    if head == "ltc":
        layer = LTC(width, initialization_ranges=_WEAK_SYNAPSES, **options)
    else:
        layer = CfC(width, backbone_layers=0, **options) if isinstance(width, int) else CfC(width, **options)
    return layer(frames if elapsed is None else (frames, elapsed), mask=is_frame)


def _read_by_other_head(head: Head, units: int, frames: Any, elapsed: Any, is_frame: Any) -> Any:
    """Returns what a head without differential equations reads of frames (batch, steps, features)."""
    if head == "gru-d":
        intervals = keras.ops.ones_like(frames[..., :1]) if elapsed is None else elapsed
        return DecayingGRU(units, name="gru_d")(frames, intervals, mask=is_frame)
    if head == "transformer":
        return _transform(frames, elapsed, is_frame, units)
    if head in ("lstm", "gru"):
        layer = keras.layers.LSTM if head == "lstm" else keras.layers.GRU
        return layer(units, name=head)(frames, mask=is_frame)
    hidden = keras.layers.Dense(units, activation="relu")(frames)
    return (MeanOfFrames() if head == "mean" else LastFrame())(hidden, is_frame)


def find_units(
    head: Head, features: int, outputs: int = 1, parameters: int = 9000, *, mixed_memory: bool = False
) -> int:
    """Returns the number of units with which a head has about as many parameters as asked for.

    Args:
        head: What reads the frames.
        features: Number of features of each frame.
        outputs: Number of logits, whose weights count.
        parameters: Number of parameters, which is never exceeded.
        mixed_memory: Whether an LSTM of as many units is beside the head.
    """

    def count(units: int) -> int:
        memory = _PARAMETERS["lstm"](features, units) if mixed_memory else 0
        return _PARAMETERS[head](features, units) + memory + outputs * (units + 1)

    return max(units for units in range(1, 1024) if units == 1 or count(units) <= parameters)


def _require_possible(head: Head, times: Times, wired: bool, mixed_memory: bool) -> None:
    liquid = head in ("cfc", "ltc")
    if (wired or mixed_memory) and not liquid:
        what = "wired" if wired else "mixed_memory"
        raise InputError(
            f"{what} is an option of liquid heads. Received: head={head}. Choose cfc or ltc, or leave it out."
        )
    if times in ("elapsed", "both") and head not in _TIMED:
        raise InputError(
            f"times={times} needs a head that takes times by its equations: {', '.join(_TIMED)}. Received: head={head}."
            " Choose times=feature or times=none."
        )


def _make_backbone(name: str, frame_shape: tuple[int, ...], features: int) -> Callable[[Any], Any]:
    """Returns what gives the features (batch, features) of frames (batch, height, width, channels)."""
    if name:
        entry = get_model(name)
        if (entry.reads, entry.predicts) != ("images", "classes"):
            raise InputError(
                f"backbone must be a network of images that predicts classes. Received: {name}. Choose another."
            )
        return build_model(name, frame_shape, features)
    layers = [
        keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Conv2D(24, 3, padding="same", activation="relu"),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(features, activation="relu"),
    ]

    def read(frames: Any) -> Any:
        maps = scale_pixels(frames)
        for layer in layers:
            maps = layer(maps)
        return maps

    return read


def _transform(frames: Any, elapsed: Any, is_frame: Any, width: int) -> Any:
    """Returns the mean over the frames after one block of attention."""
    frames = keras.layers.Dense(width)(frames)
    if elapsed is not None:
        frames = TimeEncoding(name="time_encoding")(frames, elapsed)
    keys = keras.ops.expand_dims(is_frame, 1)
    attended = keras.layers.MultiHeadAttention(2, max(width // 2, 1))(frames, frames, attention_mask=keys)
    frames = keras.layers.LayerNormalization()(frames + attended)
    hidden = keras.layers.Dense(2 * width, activation="relu")(frames)
    frames = keras.layers.LayerNormalization()(frames + keras.layers.Dense(width)(hidden))
    return MeanOfFrames()(frames, is_frame)
