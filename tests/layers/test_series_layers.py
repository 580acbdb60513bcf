"""The layers over the frames of series: a decaying GRU, an encoding of time, the mean and the last frame."""

import keras
import numpy as np
import pytest
from keras import ops
from liquid_cases import gradients_of_time

from keras_lnn.layers.series import DecayingGRU, LastFrame, MeanOfFrames, TimeEncoding

BATCH, STEPS, FEATURES = 3, 5, 4
LENGTHS = np.array([5, 1, 3])
MASK = np.arange(STEPS) < LENGTHS[:, None]
GENERATOR = np.random.default_rng(0)
FRAMES = GENERATOR.normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)
ELAPSED = np.where(MASK, GENERATOR.uniform(0.5, 2.0, (BATCH, STEPS)), 0.0)[..., None].astype(np.float32)
LAYERS = {
    "gru-d": lambda frames, mask, **policy: DecayingGRU(6, **policy)(frames, ELAPSED, mask=mask),
    "mean": lambda frames, mask, **policy: MeanOfFrames(**policy)(frames, mask),
    "last": lambda frames, mask, **policy: LastFrame(**policy)(frames, mask),
}
layers = pytest.mark.parametrize("name", LAYERS)


def call(name, frames, mask=MASK, **policy):
    keras.utils.set_random_seed(1)  # the same weights each time
    return ops.convert_to_numpy(LAYERS[name](frames, ops.convert_to_tensor(mask), **policy))


@layers
def test_there_is_one_row_per_series(name):
    expected = (BATCH, 6 if name == "gru-d" else FEATURES)
    assert call(name, FRAMES).shape == expected
    symbolic = LAYERS[name](keras.KerasTensor(FRAMES.shape), keras.KerasTensor(MASK.shape, "bool"))
    assert symbolic.shape == expected


@layers
@pytest.mark.parametrize(
    "content", [pytest.param(1e9, marks=pytest.mark.slow), np.nan, pytest.param(np.inf, marks=pytest.mark.slow)]
)
def test_padded_frames_reach_neither_outputs_nor_gradients(name, content):
    padded = np.where(MASK[..., None], FRAMES, np.float32(content))
    np.testing.assert_array_equal(call(name, padded), call(name, FRAMES))
    keras.utils.set_random_seed(1)
    found = gradients_of_time(lambda frames: LAYERS[name](frames, ops.convert_to_tensor(MASK)), padded)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[~MASK], 0.0)
    assert np.abs(found[np.arange(BATCH), LENGTHS - 1]).max(axis=1).min() > 0


@layers
def test_a_padded_series_is_read_as_one_that_is_cut(name):
    keras.utils.set_random_seed(1)
    for row, length in enumerate(LENGTHS):
        alone = FRAMES[row : row + 1, :length], ELAPSED[row : row + 1, :length]
        keras.utils.set_random_seed(1)
        if name == "gru-d":
            found = DecayingGRU(6)(*alone)
        else:
            found = {"mean": MeanOfFrames, "last": LastFrame}[name]()(alone[0], ops.ones((1, length), "bool"))
        np.testing.assert_allclose(ops.convert_to_numpy(found)[0], call(name, FRAMES)[row], rtol=1e-5, atol=1e-6)


def test_the_mean_and_the_last_frame_are_those_of_numpy():
    expected = [frames[:length].mean(axis=0) for frames, length in zip(FRAMES, LENGTHS, strict=True)]
    np.testing.assert_allclose(call("mean", FRAMES), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(call("last", FRAMES), FRAMES[np.arange(BATCH), LENGTHS - 1])


def test_a_gru_decays_with_time_by_its_rates_and_without_them_is_a_gru():
    layer, plain = DecayingGRU(6), keras.layers.GRU(6)
    keras.utils.set_random_seed(1)
    first = ops.convert_to_numpy(layer(FRAMES, ELAPSED))
    plain.build(FRAMES.shape)
    plain.cell.set_weights(layer.cell.get_weights())
    assert np.abs(first - ops.convert_to_numpy(plain(FRAMES))).max() > 1e-3
    layer.rate.assign(np.zeros(6))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(FRAMES, ELAPSED)), plain(FRAMES), rtol=1e-4, atol=1e-6)
    layer.rate.assign(np.full(6, 1e4))
    forgotten = ops.convert_to_numpy(plain(FRAMES[:, -1:]))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(FRAMES, ELAPSED + 1)), forgotten, rtol=1e-4, atol=1e-6)


def test_the_rates_of_a_gru_are_learned_from_the_first_step():
    keras.utils.set_random_seed(1)
    layer = DecayingGRU(6)
    layer(FRAMES, ELAPSED)
    assert (np.asarray(ops.convert_to_numpy(layer.rate)) > 0).all()
    found = gradients_of_time(lambda elapsed: layer(FRAMES, elapsed, mask=ops.convert_to_tensor(MASK)), ELAPSED)
    assert np.abs(found[0, 1:]).min() > 0


def test_an_encoding_of_time_depends_on_the_time_alone():
    keras.utils.set_random_seed(1)
    layer = TimeEncoding(waves=3)
    added = ops.convert_to_numpy(layer(FRAMES, ELAPSED)) - FRAMES
    np.testing.assert_allclose(ops.convert_to_numpy(layer(FRAMES + 1, ELAPSED)) - FRAMES - 1, added, atol=1e-5)
    time = np.cumsum(ELAPSED[..., 0], axis=1)[..., None]
    phases = 2 * np.pi * time / 1000.0 ** np.array([0.0, 0.5, 1.0])
    waves = np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)
    np.testing.assert_allclose(added, waves @ ops.convert_to_numpy(layer.kernel), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [*LAYERS, "encoding"])
def test_half_precision_rounds_features_but_not_times(name):
    if name == "encoding":
        keras.utils.set_random_seed(1)
        layer, half = TimeEncoding(), TimeEncoding(dtype="mixed_float16")
        late = ELAPSED + 500.0
        found = half(FRAMES, late)
        layer.build(FRAMES.shape)
        layer.set_weights(half.get_weights())
        expected = layer(FRAMES, late)
        assert keras.backend.standardize_dtype(found.dtype) == "float16"
        np.testing.assert_allclose(
            *(ops.convert_to_numpy(ops.cast(part, "float32")) for part in (found, expected)), atol=2e-2
        )
        return
    found = call(name, FRAMES, dtype="mixed_float16")
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float32), call(name, FRAMES), atol=2e-2)


def test_all_of_them_come_back_from_a_file(tmp_path):
    frames, elapsed = keras.Input((STEPS, FEATURES)), keras.Input((STEPS, 1))
    mask = keras.Input((STEPS,), dtype="bool")
    encoded = TimeEncoding(waves=3)(frames, elapsed)
    reads = [DecayingGRU(6)(encoded, elapsed, mask=mask), MeanOfFrames()(encoded, mask), LastFrame()(encoded, mask)]
    model = keras.Model([frames, elapsed, mask], keras.layers.Concatenate()(reads))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = [FRAMES, ELAPSED, MASK]
    np.testing.assert_array_equal(ops.convert_to_numpy(again(inputs)), ops.convert_to_numpy(model(inputs)))


def test_a_mask_of_a_layer_before_ends_with_the_frames():
    sequences = keras.layers.LSTM(4, return_sequences=True)(
        keras.Input((STEPS, FEATURES)), mask=keras.Input((STEPS,), dtype="bool")
    )
    for layer in (MeanOfFrames(), LastFrame()):
        assert getattr(layer(sequences, keras.KerasTensor((None, STEPS), "bool")), "_keras_mask", None) is None
