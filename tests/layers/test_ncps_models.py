"""Models of ncps.keras: loaded from their saved files, and built from their layers."""

import keras
import numpy as np
import pytest
from liquid_cases import CASES, FEATURES, STEPS, WIRINGS, draw_inputs, ncps, randomise

from keras_lnn.errors import InputError
from keras_lnn.layers import LTC, CfC
from keras_lnn.layers.ncps_models import load_ncps_model
from keras_lnn.registry import build_model


def save_theirs(case, path):
    kind, wiring, arguments = CASES[case]
    source = keras.Input((STEPS, FEATURES))
    layer = getattr(ncps.keras, kind.__name__)(WIRINGS[wiring](), **arguments, return_sequences=True)
    model = keras.Model(source, keras.layers.Dense(1)(layer(source)))
    randomise(layer)
    model.save(path)
    return keras.ops.convert_to_numpy(model(draw_inputs()))


SAVED = [case for case in CASES if "ncp" not in case]
BY_DEFAULT = ("ltc-auto", "ltc-memory", "cfc-random", "cfc-no-backbone")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in BY_DEFAULT else pytest.mark.slow) for case in SAVED]
)
def test_a_model_saved_with_ncps_is_loaded(case, tmp_path):
    expected = save_theirs(case, tmp_path / "theirs.keras")
    model = load_ncps_model(tmp_path / "theirs.keras")
    assert isinstance(model.layers[1], LTC | CfC)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(draw_inputs())), expected, atol=2e-6)


def test_an_ncp_is_refused_with_its_reason(tmp_path):
    save_theirs("ltc-ncp", tmp_path / "theirs.keras")
    with pytest.raises(InputError, match=r"an NCP, whose seed ncps\.keras does not save"):
        load_ncps_model(tmp_path / "theirs.keras")


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_files_that_are_not_models_are_reported(tmp_path, content):
    if content:
        (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(InputError, match=r"must be a whole \.keras file"):
        load_ncps_model(tmp_path / "model.keras")


def test_a_liquid_model_can_use_ncps_layers():
    theirs, ours = (build_model("lnn", (28, 28, 1), 2, layers=source) for source in ("ncps", "keras_lnn"))
    assert type(theirs.get_layer("cfc")) is ncps.keras.CfC
    assert theirs.count_params() == ours.count_params()
    assert [weight.shape for weight in theirs.weights] == [weight.shape for weight in ours.weights]
