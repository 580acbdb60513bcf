"""Finding the liquid layers of any model, and splitting models before them."""

import keras
import numpy as np
import pytest
from liquid_samples import draw_split, make_model
from ncps.wirings import AutoNCP

from keras_lnn.errors import InputError
from keras_lnn.explaining.liquid_layers import (
    choose_liquid_layer,
    explain_absence,
    find_inputs,
    find_liquid_layers,
    predict_after,
    read_before,
    split_at,
    split_before,
)
from keras_lnn.layers import CfC
from keras_lnn.layers.ncps_models import import_ncps
from keras_lnn.models.recurrences import BothDirections
from keras_lnn.registry import build_model, list_models

SHAPES = {"images": (28, 28, 1), "series": (4, 28, 28, 1), "volumes": (16, 16, 16, 1)}


def build_without_values(name: str, **arguments) -> keras.Model:
    entry = {entry.name: entry for entry in list_models()}[name]
    for shape in (SHAPES.get(entry.reads, SHAPES["images"]), SHAPES["images"], SHAPES["volumes"], (8, 32, 32, 1)):
        try:
            with keras.StatelessScope(initialize_variables=False):
                return build_model(name, shape, 2, **arguments)
        except (InputError, ValueError) as error:
            refused = error
    raise refused


def expects_liquid(entry) -> bool:
    return entry.family == "liquid" or any(word in entry.summary for word in ("LTC", "CfC", "liquid layer"))


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("lnn", {}, ""),
        ("lnn-series", {"head": "ltc"}, ""),
        ("rnn", {}, "by SimpleRNN, which has no liquid neurons"),
        ("dnn", {}, "has no recurrent layer"),
    ],
)
def test_a_model_has_liquid_layers_or_a_reason(name, arguments, reason):
    model = build_without_values(name, **arguments)
    assert bool(find_liquid_layers(model)) == (not reason)
    assert reason in explain_absence(model)
    assert bool(explain_absence(model)) == bool(reason)
    assert "\n" not in explain_absence(model)


@pytest.mark.slow
@pytest.mark.parametrize("entry", list_models(), ids=lambda entry: entry.name)
def test_every_registered_model_has_liquid_layers_or_a_reason(entry):
    model = build_without_values(entry.name)
    found = find_liquid_layers(model)
    if entry.name != "crnet":  # whose summary leaves the recurrence open
        assert bool(found) == expects_liquid(entry)
    assert bool(explain_absence(model)) == (not found)
    for layer in found:
        split_before(model, layer)
        find_inputs(model, layer)


def test_layers_within_others_are_found():
    steps = keras.Input((3, 4))
    wrapped = keras.layers.Bidirectional(CfC(AutoNCP(5, 1), name="inner"))(steps)
    nested = keras.Model(steps, CfC(2, backbone_layers=0, name="nested")(steps))
    model = keras.Model(steps, [wrapped, nested(steps)])
    assert [layer.name for layer in find_liquid_layers(model)] == ["forward_inner", "backward_inner", "nested"]
    assert choose_liquid_layer(model, "nested").units == 2
    with pytest.raises(InputError, match="forward_inner, backward_inner, nested"):
        choose_liquid_layer(model, "cfc")


def test_layers_of_ncps_are_named_as_such():
    model = keras.Sequential([keras.Input((3, 4)), import_ncps().CfC(2)])
    assert "layers of ncps" in explain_absence(model)
    with pytest.raises(InputError, match="load_ncps_model"):
        choose_liquid_layer(model)


@pytest.mark.parametrize("kind", ["branches", pytest.param("directions", marks=pytest.mark.slow)])
def test_both_parts_together_are_the_model(kind):
    model = make_model("dense")
    if kind == "directions":
        inputs = keras.Input((3, 4, 1))
        steps = keras.layers.Reshape((3, 4))(inputs / 255)
        scan = BothDirections("cfc", 2, backbone_layers=0)
        # The same layers read two sequences, as they do along several axes of a volume.
        read = scan(steps) + scan(keras.ops.flip(steps, axis=2))
        model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(read)))
    images = draw_split(4).images
    expected = keras.ops.convert_to_numpy(model(np.float32(images[:])))
    for layer in find_liquid_layers(model):
        for parts in (split_before(model, layer), split_at(model, find_inputs(model, layer).sequence)):
            parts.before.run_eagerly = parts.after.run_eagerly = True
            np.testing.assert_allclose(predict_after(parts, read_before(parts, images)), expected, atol=1e-6)
