"""``.keras`` files that carry their signature and samples, written and loaded in safe mode."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError, show_value
from keras_lnn.saved.predictor import KerasPredictor, first_line, require_fit
from keras_lnn.saved.signature import Signature, save_keras

_LARGEST_NUMBER = 2**24


def write(predictor: KerasPredictor, folder: Path, samples: SampleRecord | None) -> None:
    """Writes ``model.keras``."""
    save_keras(predictor.model, predictor.signature, folder / "model.keras", samples)


def load(path: Path, signature: Signature) -> KerasPredictor:
    """Loads a ``.keras`` file, whose shapes must be those of its signature."""
    model = load_keras(path)
    expected = (1 if signature.time_unit is None else 2, 1)
    tensors = zip((model.inputs, model.outputs), expected, strict=True)
    shapes = [found[0].shape if len(found) == number else () for found, number in tensors]
    require_fit(path, signature, *shapes)
    return KerasPredictor(model, signature)


def load_keras(path: Path) -> Any:
    """Loads a Keras model in safe mode: nothing in the file is run."""
    import keras

    import keras_lnn.layers
    import keras_lnn.losses  # noqa: F401  the layers and losses must be known by name
    from keras_lnn.backend.devices import xla_slows_convolutions
    from keras_lnn.layers.ncps_models import ncps_layers_as_ours
    from keras_lnn.layers.pooling import give_fast_gradients

    try:
        _require_possible(path)
        with ncps_layers_as_ours():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
            if not isinstance(model, keras.Model) or not model.built:
                raise ValueError(f"a {type(model).__name__}")
            # A model that was not compiled is compiled by XLA otherwise: resnet18 predicts 17 times as fast without.
            if xla_slows_convolutions():
                model.jit_compile = False
            give_fast_gradients(model)
            return model
    except Exception as error:  # what a foreign configuration makes Keras raise has no common class
        unknown = re.search(r"Could not locate class '(\w+)'", str(error))
        if unknown:
            raise InputError(
                f"The classes of a model's layers must be known. Received: {path} with {unknown.group(1)}. Name the"
                " module that defines it with --imports."
            ) from None
        raise InputError(f"The model in {path} cannot be loaded in safe mode ({first_line(error)}).") from None


def _require_possible(path: Path) -> None:
    """Checks that the configuration in a ``.keras`` file has no number that only a layer of impossible size has."""

    def check(content: Any, key: str = "") -> None:
        for name, value in content.items() if isinstance(content, dict) else ((key, item) for item in content):
            if isinstance(value, dict | list):
                check(value, name)
            elif isinstance(value, int) and abs(value) > _LARGEST_NUMBER and not name.endswith(("seed", "_id")):
                raise ValueError(f"{name} is {show_value(value)}")

    with zipfile.ZipFile(path) as archive:
        check(json.loads(archive.read("config.json")))
