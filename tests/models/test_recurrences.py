"""The layers that read sequences: every choice by its name, both directions, elapsed times and equal size."""

import typing

import keras
import numpy as np
import pytest
from ncps.wirings import AutoNCP

from keras_lnn.layers import LTC, CfC
from keras_lnn.models.recurrences import BothDirections, Recurrence, find_hidden_width, is_liquid, make_recurrence
from keras_lnn.registry import build_model

RECURRENT = [name for name in typing.get_args(Recurrence) if name != "dense"]
BY_DEFAULT = ("cfc", "gru")
some = pytest.mark.parametrize(
    "recurrence", [pytest.param(name, marks=[] if name in BY_DEFAULT else pytest.mark.slow) for name in RECURRENT]
)
STEPS = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)


@some
def test_each_recurrence_has_the_requested_number_of_neurons(recurrence):
    classes = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
    layer = make_recurrence(recurrence, 5, name="reader")
    assert type(layer) is {**classes, "ltc": LTC, "cfc": CfC}[recurrence]
    assert layer.name == "reader"
    assert layer(STEPS).shape == (2, 4, 5)
    wired = make_recurrence(recurrence, AutoNCP(9, 2))
    assert wired(STEPS).shape == (2, 4, 2 if is_liquid(recurrence) else 9)


@some
def test_bidirectional_outputs_end_with_the_backward_half(recurrence):
    read = BothDirections(recurrence, 5, "slices_")
    times = np.random.default_rng(1).uniform(0.5, 2.0, (2, 4, 1)).astype(np.float32)
    outputs = keras.ops.convert_to_numpy(read(STEPS, times))
    assert outputs.shape == (2, 4, 10)
    assert {layer.name for layer in read.layers.values()} == {"slices_forwards", "slices_backwards"}
    later = STEPS.copy()
    later[:, 2] += 1.0
    changed = np.abs(keras.ops.convert_to_numpy(read(later, times)) - outputs).max(axis=0) > 1e-6
    assert changed[:, :5].any(axis=1).tolist() == [False, False, True, True]
    assert changed[:, 5:].any(axis=1).tolist() == [True, True, True, False]
    without = keras.ops.convert_to_numpy(read(STEPS))
    assert np.array_equal(without, outputs) == (not is_liquid(recurrence))


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (20, 4), (64, 64)])
def test_dense_controls_match_the_requested_parameter_count(inputs, outputs):
    hidden = find_hidden_width(5_000, inputs, outputs)
    parameters = hidden * (inputs + 1) + outputs * (hidden + 1)
    assert parameters <= 5_000 < parameters + inputs + 1 + outputs
    assert find_hidden_width(1, inputs, outputs) == 1


@pytest.mark.parametrize("recurrence", ["gru", pytest.param("rnn", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "shape"), [("unet-lnn", (3, 8, 8, 1)), ("lnn-3d", (12, 12, 12, 1)), ("crnet", (16, 16, 1))]
)
def test_every_network_that_reads_sequences_takes_any_recurrence(name, shape, recurrence):
    model = build_model(name, shape, 2, recurrence=recurrence)
    kind = {"gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[recurrence]
    assert any(isinstance(layer, kind) for layer in model.layers)
