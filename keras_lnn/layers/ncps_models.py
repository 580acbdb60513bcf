"""Models built with ``ncps.keras``: imports its layers without output, and loads its saved models with our layers."""

import contextlib
import io
import warnings
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.layers import LTC, CfC

_DROPPED = ("cell", "wiring", "backbone_units", "backbone_layers", "backbone_dropout", "sparsity_mask")


def import_ncps() -> ModuleType:
    """Imports ``ncps.keras``, which also lets Keras load models that contain its layers."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import ncps.keras
    return ncps.keras


def load_ncps_model(path: str | Path) -> keras.Model:
    """Reads a ``.keras`` file with layers of ``ncps.keras`` into a model with our layers.

    The layers keep their function (``version="ncps.keras"``) and their weights. No code of ``ncps`` runs, so files load
    that ``ncps`` itself cannot load.

    Args:
        path: The ``.keras`` file.

    Returns:
        The uncompiled model.
    """
    try:
        with ncps_layers_as_ours():
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (InputError, *DAMAGED_FILE_ERRORS, TypeError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise InputError(str(cause)) from None
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"The model must be a whole .keras file of ncps.keras layers. Received: {path} ({reason})."
        ) from None


@contextlib.contextmanager
def ncps_layers_as_ours() -> Generator[None]:
    """Makes Keras load layers registered by ``ncps`` as ours inside the context, even if ``ncps.keras`` is imported."""
    registered = keras.saving.get_custom_objects()
    readers = {f"ncps>{layer.__name__}": _reader(layer) for layer in (LTC, CfC)}
    before = {name: registered[name] for name in readers if name in registered}
    registered.update(readers)
    try:
        yield
    finally:
        for name in readers:
            del registered[name]
        registered.update(before)


def _reader(layer: type[keras.layers.RNN]) -> type:
    """Returns a class through which Keras creates our layer from a configuration of theirs."""

    class Reader:
        @classmethod
        def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
            units = config["units"]
            is_wired = isinstance(units, dict)
            config = {name: value for name, value in config.items() if not is_wired or name not in _DROPPED}
            config = {name: value for name, value in config.items() if name not in ("cell", "wiring")}
            if "activation" in config:
                config["activation"] = _activation(config["activation"])
            if is_wired:
                config["units"] = _wiring(units)
            return layer.from_config({**config, "version": "ncps.keras"})

    return Reader


def _wiring(config: dict[str, Any]) -> dict[str, Any]:
    if config["class_name"] == "NCP":
        raise InputError(
            "A wiring must be one that ncps saves whole. Received: an NCP, whose seed ncps.keras does not save. "
            "Make the layer with the same NCP(..., seed=...) and give it the weights by set_weights."
        )
    return {"class_name": config["class_name"], "config": config["config"]}


def _activation(value: Any) -> Any:
    """Returns the name of an activation, which ncps saves as a function."""
    name = value.get("config") if isinstance(value, dict) else value
    return name.rpartition(">")[2] if isinstance(name, str) else value
