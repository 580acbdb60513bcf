"""Models by name: found without Keras, arguments checked against the builder."""

import subprocess
import sys

import keras
import pytest

from keras_lnn import models, registry
from keras_lnn.errors import InputError, suggest
from keras_lnn.registry import (
    build_model,
    builder_arguments,
    check_arguments,
    get_model,
    list_models,
    model_names,
    register_model,
    require_model,
)
from keras_lnn.source_names import names_in_source


def test_model_names_are_those_of_the_builders():
    names = [entry.name for entry in list_models()]
    assert {"lnn", "dnn", "cnn"} <= set(names)
    assert names == sorted(names)
    assert names == [name for name in model_names() if name in names]
    for entry in list_models():
        assert entry.builder.__name__.replace("_", "-") == entry.name  # ty: ignore[missing-attribute] functions have it
        assert entry.summary.endswith(".")


def test_names_are_known_without_keras():
    code = "import sys; from keras_lnn.registry import model_names; print(*model_names(), 'keras' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"lnn", "dnn", "cnn"} <= set(out)
    assert out[-1] == "False"


BUILDER = "(family='test', reference_data='phantom-breast')\ndef my_net(image_shape, outputs):\n    pass\n"


@pytest.mark.parametrize(
    ("imports", "decorator"),
    [
        ("from keras_lnn.registry import register_model", "register_model"),
        ("from keras_lnn.registry import register_model as model", "model"),
        ("from keras_lnn.registry import *", "register_model"),
        ("from keras_lnn import register_model", "register_model"),
        ("from keras_lnn import registry", "registry.register_model"),
        ("from keras_lnn import registry as known", "known.register_model"),
        ("from .. import registry", "registry.register_model"),
        ("from ..registry import register_model as model", "model"),
        ("import keras_lnn", "keras_lnn.register_model"),
        ("import keras_lnn.registry", "keras_lnn.registry.register_model"),
        ("import keras_lnn.registry as known", "known.register_model"),
    ],
)
def test_names_are_found_for_every_import_of_the_decorator(imports, decorator):
    source = f"import keras\n{imports}\n\n@{decorator}{BUILDER}"
    assert names_in_source(source, dict.get) == ["my-net"]


@pytest.mark.parametrize("argument", ["'nets.yaml'", "family='x', table='nets.yaml'"])
def test_names_registered_from_a_table_are_found(argument):
    source = (
        f"from keras_lnn import registry\n\n@registry.register_networks({argument})\ndef make(name, facts):\n    pass"
    )
    assert names_in_source(source, {"nets.yaml": ["a", "b"]}.get) == ["a", "b"]


@pytest.mark.parametrize(
    "source",
    [
        "from keras_lnn.registry import register_model\nmodel = register_model(family='x', reference_data='y')\n@model"
        + BUILDER,
        "from keras_lnn import registry\nfor make in (1, 2):\n    registry.register_model(family='x')(make)",
        "from keras_lnn import registry\nregister = getattr(registry, 'register_model')",
        "import functools\nimport keras_lnn\nmodel = functools.partial(keras_lnn.register_model, family='x')\n@model"
        + BUILDER,
        "from keras_lnn.registry import register_networks\nFILE = 'x'\n@register_networks(FILE)\ndef f(n):\n    pass",
        "from keras_lnn.models.blocks import my_family\n@my_family" + BUILDER,
        "from .blocks import my_family\n@my_family" + BUILDER,
    ],
)
def test_a_module_whose_names_cannot_be_read_is_to_be_imported(source):
    assert names_in_source(source, dict.get) is None


def test_a_module_is_imported_where_its_names_cannot_be_read(tmp_path, monkeypatch):
    source = "from keras_lnn import registry\nmodel = registry.register_model\n\n@model" + BUILDER
    (tmp_path / "read_by_import.py").write_text(source)
    monkeypatch.setattr(registry, "_SOURCES", tmp_path)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    registry._names_in_sources.cache_clear()
    try:
        assert "my-net" in model_names()
        require_model("my-net")
    finally:
        registry._names_in_sources.cache_clear()
        registry._MODELS.pop("my-net", None)
        sys.modules.pop("keras_lnn.models.read_by_import", None)


def test_an_unknown_model_lists_the_nearest():
    with pytest.raises(InputError, match=r"no model 'lnnn'\. Did you mean lnn"):
        require_model("lnnn")


def test_duplicate_model_names_are_refused():
    def lnn(image_shape, outputs):
        """Another."""

    with pytest.raises(ValueError, match=r"must be new\. Received: lnn"):
        register_model(family="x", reference_data="breastmnist")(lnn)


def test_arguments_are_read_as_the_builders_types():
    entry = get_model("lnn")
    assert set(builder_arguments(entry)) == {
        "units",
        "sequence_length",
        "sparsity",
        "dropout",
        "over_slices",
        "logit_scale",
        "wiring_seed",
        "layers",
    }
    read = check_arguments(entry, {"units": "21", "dropout": "0.25", "wiring_seed": 3})
    assert read == {"units": 21, "dropout": 0.25, "wiring_seed": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": 3}, "has no argument 'unit'. Did you mean units"),
        ({"units": "many"}, "Argument units of model lnn must be a valid integer"),
        ({"dropout": 1.0}, "Argument dropout of model lnn must be less than 1. Received: 1.0"),
        ({"image_shape": 3}, "has no argument 'image_shape'"),
        ({"units": 4}, "units must be at least 5 for 2 outputs. Received: 4"),
        ({"sequence_length": 5}, "divide the 128 channels. Received: 5"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")) as caught:
        build_model("lnn", (28, 28, 1), 2, **arguments)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 28, 1), (4, 4, 1)])
def test_a_wrong_shape_is_one_line(shape):
    with pytest.raises(InputError, match=r"Received: shape"):
        build_model("cnn", shape, 2)


def test_a_model_is_added_in_one_place():
    @register_model(family="test", reference_data="phantom-breast", epochs=2)
    def tiny_test_model(image_shape, outputs, *, width: int = 3):
        """One dense layer."""
        inputs = keras.Input(image_shape)
        return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(inputs)))

    try:
        assert build_model("tiny-test-model", (8, 8, 1), 3, width="4").output_shape == (None, 3)
        assert get_model("tiny-test-model").protocol == {"epochs": 2}
    finally:
        del registry._MODELS["tiny-test-model"]


def test_suggestions_name_similar_choices():
    assert suggest("lnm", ["lnn", "cnn"]) == "Did you mean lnn?"
    assert suggest("zzz", ["b", "a"]) == "Choose from a, b."
    assert suggest("x", []) == ""
