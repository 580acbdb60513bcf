"""The running average of the weights, worked out by hand."""

import keras
import numpy as np

from keras_lnn.training.averaging import WeightAverage
from keras_lnn.training.variables import model_variables, read_variables


def small_model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(2)(hidden))


class Snapshots(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps, self.tested = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(read_variables(model_variables(self.model)))

    def on_test_batch_end(self, batch, logs=None):
        self.tested = read_variables(model_variables(self.model))


def test_the_average_decays_by_its_momentum_with_warm_up():
    model, snapshots, average = small_model(), Snapshots(), WeightAverage(0.6)
    begun = read_variables(model_variables(model))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    generator = np.random.default_rng(0)
    data = (generator.normal(size=(24, 4)), generator.normal(size=(24, 2)))
    model.fit(
        *data, batch_size=4, epochs=2, validation_data=data, callbacks=[average, snapshots], verbose=0, shuffle=False
    )
    expected = begun
    for step, values in enumerate(snapshots.steps):
        momentum = min(0.6, (1 + step) / (10 + step))
        expected = [
            momentum * old + (1 - momentum) * new if np.issubdtype(new.dtype, np.floating) else new
            for old, new in zip(expected, values, strict=True)
        ]
    assert len(snapshots.steps) == 12
    assert any(value.dtype.kind in "ui" for value in begun)  # the state of the random generator is no average
    for found, worked_out, validated in zip(average.read(), expected, snapshots.tested, strict=True):
        np.testing.assert_allclose(found, worked_out, rtol=1e-5, atol=1e-6)
        if found.dtype.kind == "f":
            np.testing.assert_array_equal(found, validated)
    for own, last in zip(read_variables(model_variables(model)), snapshots.steps[-1], strict=True):
        np.testing.assert_array_equal(own, last)  # validation restores the weights


def test_the_average_resumes_from_earlier_values():
    model = small_model()
    average = WeightAverage(0.5, [value + 1 for value in read_variables(model_variables(model))])
    average.set_model(model)
    average.on_train_begin()
    for found, own in zip(average.read(), read_variables(model_variables(model)), strict=True):
        np.testing.assert_array_equal(found, own + 1)
