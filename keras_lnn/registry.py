"""The registry of models by name; a new model needs one builder function with one decorator."""

import dataclasses
import functools
import importlib
import inspect
import math
import pkgutil
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from keras_lnn.errors import InputError, show_value, suggest
from keras_lnn.source_names import names_in_source, public_name
from keras_lnn.tasks.kinds import list_forms

if TYPE_CHECKING:
    import keras

Builder = Callable[..., "keras.Model"]
# What a model takes: images or volumes, or series of images with the time of each frame.
READS = ("images", "series")


class NamedBuilder(Protocol):
    """A function that builds a network and whose name becomes the network's name."""

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> "keras.Model": ...


# The largest whole number in an argument, such as units, for which layers and wirings can be built in reasonable time.
_LARGEST_ARGUMENT = 2**14
# From these sizes on, weights are counted before they are created.
_LARGE_ARGUMENT, _LARGE_IMAGE = 2**11, 2**20
# In float32, with its gradient and the two moments of Adam.
_BYTES_A_WEIGHT = 16

_SOURCES = Path(__file__).with_name("models")


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """One registered model.

    Args:
        name: The name of the builder function, with dashes.
        family: The kind of network.
        summary: First line of the builder's docstring.
        builder: Returns an uncompiled functional model from pixel values to logits.
        reference_data: Catalog name of the data set for which it was published or made.
        protocol: Published fields of :class:`~keras_lnn.config.TrainConfig`, used for what a user leaves out.
        predicts: The form of its output, one of those that tasks have: ``classes``: logits of an image, (batch,
            outputs); ``masks``: of each pixel, (batch, ..., outputs).
    """

    name: str
    family: str
    summary: str
    builder: Builder
    reference_data: str
    protocol: Mapping[str, Any]
    predicts: str = "classes"
    reads: str = "images"


_MODELS: dict[str, ModelEntry] = {}


def register_model(
    *, family: str, reference_data: str, predicts: str = "classes", reads: str = "images", **protocol: Any
) -> Callable[[NamedBuilder], NamedBuilder]:
    """Registers a builder under its own name (``lnn_small`` becomes ``lnn-small``).

    A builder takes ``image_shape`` and ``outputs`` (the number of logits) and typed keyword arguments with defaults,
    and returns an uncompiled functional model from pixel values 0..255 to logits: its first layer scales the pixels, so
    that a saved model includes its preprocessing.

    Args:
        family: The kind of network.
        reference_data: Catalog name of the data set for which it was published or made.
        predicts: ``classes`` if it predicts the classes of a whole image, ``masks`` for segmentation: then the logits
            have the shape of the image with ``outputs`` in the place of its channels.
        reads: ``images``, or ``series`` for a model with two inputs: ``image_shape`` is then (frames, height, width,
            channels), and the second input holds the times of the frames.
        **protocol: Training defaults, fields of :class:`~keras_lnn.config.TrainConfig`.
    """

    def register(builder: NamedBuilder) -> NamedBuilder:
        _add_model(public_name(builder.__name__), family, builder, reference_data, protocol, predicts, reads)
        return builder

    return register


def register_networks(
    table: str, *, family: str, reference_data: str, **protocol: Any
) -> Callable[[Callable[..., Builder]], Callable[..., Builder]]:
    """Registers every network of a table of layers under its name there.

    The decorated function takes a name, the facts of that network, and, by name, whatever the table has beside its
    ``networks``, and returns the network's builder.

    Args:
        table: YAML file beside the models' sources.
        family: The kind of network.
        reference_data: Catalog name of the data set for which they were published or made.
        **protocol: Training defaults, fields of :class:`~keras_lnn.config.TrainConfig`.
    """

    def register(make_builder: Callable[..., Builder]) -> Callable[..., Builder]:
        content = dict(_read_table(table))
        for name, facts in content.pop("networks").items():
            _add_model(name, family, make_builder(name, facts, **content), reference_data, protocol)
        return make_builder

    return register


def _add_model(
    name: str,
    family: str,
    builder: Builder,
    reference_data: str,
    protocol: Mapping[str, Any],
    predicts: str = "classes",
    reads: str = "images",
) -> None:
    if name in _MODELS:
        known = _MODELS[name].builder
        raise ValueError(f"A model name must be new. Received: {name}, which {known.__module__} defines already.")
    if predicts not in list_forms():
        raise ValueError(
            f"What a model predicts must be of a task. Received: {predicts!r}. {suggest(predicts, list_forms())}"
        )
    if reads not in READS:
        raise ValueError(f"What a model reads must be one of {', '.join(READS)}. Received: {reads!r}.")
    summary = (inspect.getdoc(builder) or "").partition("\n")[0]
    _MODELS[name] = ModelEntry(name, family, summary, builder, reference_data, protocol, predicts, reads)


def get_model(name: str) -> ModelEntry:
    """Returns the entry of a name; an unknown name raises an :class:`InputError` that lists the nearest names."""
    require_model(name)
    _load_models()
    return _MODELS[name]


def require_model(name: str) -> None:
    """Checks that a model of this name exists, without loading Keras."""
    names = model_names()
    if name not in names:
        raise InputError(f"There is no model {name!r}. {suggest(name, names)} Your own models need --imports.")


def list_models() -> list[ModelEntry]:
    """Returns all models, sorted by name."""
    _load_models()
    return [_MODELS[name] for name in sorted(_MODELS)]


def model_names() -> list[str]:
    """Returns the names of all models without loading Keras, so that a mistyped name is reported at once.

    The names are read from the sources; a module, and Keras, is only imported if its registration cannot be read.
    """
    names = _names_in_sources()  # first, since a module that it imports adds to _MODELS
    return sorted({*_MODELS, *names})


def build_model(name: str, image_shape: tuple[int, ...], outputs: int, /, **arguments: Any) -> "keras.Model":
    """Builds an uncompiled model from pixel values to logits.

    Args:
        name: A registered name.
        image_shape: (height, width, channels) or (depth, height, width, channels).
        outputs: Number of logits.
        **arguments: Arguments of the model's builder, checked against its signature; strings are parsed as its types.
    """
    from keras_lnn.layers.pooling import give_fast_gradients

    entry = get_model(name)
    model = entry.builder(tuple(image_shape), outputs, **check_arguments(entry, arguments))
    model.name = name
    give_fast_gradients(model)
    return model


def require_memory_for_model(name: str, image_shape: tuple[int, ...], outputs: int, /, **arguments: Any) -> None:
    """Checks that the weights of a model fit into memory, before any are created.

    Counting the weights of a large model clears Keras's state, so call this before random seeds are set.

    Args:
        name: A registered name.
        image_shape: As in :func:`build_model`.
        outputs: Number of logits.
        **arguments: Arguments of the model's builder.
    """
    entry = get_model(name)
    checked = check_arguments(entry, arguments)
    if _largest(list(checked.values())) < _LARGE_ARGUMENT and math.prod(image_shape) < _LARGE_IMAGE:
        return
    import keras
    import psutil

    memory = psutil.virtual_memory().total
    try:
        with keras.StatelessScope(initialize_variables=False):
            count = count_parameters(entry.builder(tuple(image_shape), outputs, **checked))
    except MemoryError:
        count = memory
    # Otherwise Keras initialises the weights that were only counted when the next layer is created.
    keras.utils.clear_session()
    if count * _BYTES_A_WEIGHT > memory:
        raise InputError(
            f"A model, its gradients and its optimizer must fit into memory ({memory / 2**30:.0f} GiB). Received:"
            f" {name} with {show_value(dict(arguments))} for images of {'x'.join(map(str, image_shape))}."
            " Choose smaller arguments or images."
        )


def count_parameters(model: "keras.Model") -> int:
    """Returns the number of trainable parameters of a model."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def builder_arguments(entry: ModelEntry) -> dict[str, inspect.Parameter]:
    """Returns the keyword arguments that a user can set, by name."""
    parameters = inspect.signature(entry.builder).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check_arguments(entry: ModelEntry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments in the builder's types; an unknown name or a wrong value raises an error of one line."""
    import pydantic

    known = builder_arguments(entry)
    types = typing.get_type_hints(entry.builder, include_extras=True)
    checked = {}
    for name, value in arguments.items():
        if name not in known:
            raise InputError(f"Model {entry.name} has no argument {name!r}. {suggest(name, known)}")
        try:
            checked[name] = pydantic.TypeAdapter(types[name]).validate_python(value)
        except pydantic.ValidationError as error:
            rule = error.errors(include_url=False)[0]["msg"].replace("Input should", "must")
            raise InputError(f"Argument {name} of model {entry.name} {rule}. Received: {show_value(value)}.") from None
        if _largest(checked[name]) > _LARGEST_ARGUMENT and not name.endswith("seed"):
            raise InputError(
                f"Argument {name} of model {entry.name} must be at most {_LARGEST_ARGUMENT:,}. Received:"
                f" {show_value(value)}."
            )
    return checked


def _largest(value: Any) -> int:
    """Returns the largest whole number in an argument."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    return max(map(_largest, value), default=0) if isinstance(value, list | tuple) else 0


@functools.cache
def _load_models() -> None:
    import keras_lnn.models as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


@functools.cache
def _names_in_sources() -> tuple[str, ...]:
    names: list[str] = []
    for file in sorted(_SOURCES.glob("*.py")):
        found = names_in_source(file.read_text(encoding="utf-8"), lambda table: _read_table(table)["networks"])
        if found is None:
            importlib.import_module(f"keras_lnn.models.{file.stem}")
        names += found or []
    return tuple(names)


@functools.cache
def _read_table(name: str) -> Mapping[str, Any]:
    import yaml

    return yaml.safe_load((_SOURCES / name).read_text(encoding="utf-8"))
