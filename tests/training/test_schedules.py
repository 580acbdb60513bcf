"""Learning-rate schedules: their values and turning points, which depend only on the step."""

import keras
import numpy as np
import pytest

from keras_lnn.config import TrainConfig
from keras_lnn.tasks.kinds import make_task
from keras_lnn.training.compiling import compile_model
from keras_lnn.training.protocol import complete_config
from keras_lnn.training.schedules import make_schedule


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0]),
        ("cosine", [1.0, 0.5, 0.0]),
        ("exponential", [1.0, 0.1, 0.01]),
        ("warmup-cosine", [0.0, 0.5868, 0.0]),
        ("steps", [1.0, 0.1, 0.01]),
    ],
)
def test_schedules_equal_their_formulas(name, expected):
    schedule = make_schedule(name, 1.0, 100)
    values = [schedule if isinstance(schedule, float) else float(schedule(step)) for step in (0, 50, 100)]
    assert values == pytest.approx(expected, abs=1e-3)


def test_warm_up_ends_at_the_full_rate():
    schedule = make_schedule("warmup-cosine", 0.2, 100)
    rates = [float(schedule(step)) for step in range(100)]
    assert max(rates) == pytest.approx(0.2)
    assert rates.index(max(rates)) == 10


@pytest.mark.parametrize("total", [4, 10, 500])
def test_step_schedule_falls_after_half_and_three_quarters(total):
    schedule = make_schedule("steps", 1e-3, total)
    rates = [float(schedule(step)) for step in range(total)]
    half, late = round(total / 2), round(0.75 * total)
    expected = [1e-3] * half + [1e-4] * (late - half) + [1e-5] * (total - late)
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("period", [1, 3, 7, 49, 350])
@pytest.mark.parametrize("compiled", [False, True])
def test_cosine_restarts_begin_at_the_exact_step(period, compiled):
    import tensorflow as tf

    schedule = make_schedule("cosine-restarts", 0.5, 10 * period, period)
    steps = np.arange(6 * period)
    rate = tf.function(schedule, jit_compile=compiled, input_signature=[tf.TensorSpec((), tf.int64)], autograph=False)
    chosen = np.flatnonzero((steps % period < 2) | (steps % period == period - 1))
    expected = 0.25 * (1 + np.cos(np.pi * (chosen % period) / period))
    np.testing.assert_allclose([float(rate(step)) for step in chosen], expected, atol=1e-6)


def test_cosine_restarts_without_a_period_equal_cosine():
    rates = [float(make_schedule("cosine-restarts", 1.0, 100)(step)) for step in range(100)]
    assert rates == pytest.approx([float(make_schedule("cosine", 1.0, 100)(step)) for step in range(100)], abs=1e-6)


@pytest.mark.parametrize(("restart_epochs", "epochs"), [(None, 50), (4, 30), (7, 3)])
def test_restarts_are_counted_in_epochs(restart_epochs, epochs):
    fields = {"model": "dnn", "schedule": "cosine-restarts", "restart_epochs": restart_epochs, "epochs": epochs}
    config = complete_config(TrainConfig.create(fields))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    compile_model(model, make_task("binary", ("a", "b")), config, 13 * epochs, np.array([0, 1]))
    for restart in (13 * (restart_epochs or 10), 26 * (restart_epochs or 10)):
        model.optimizer.iterations.assign(restart - 1)
        assert float(model.optimizer.learning_rate) < 1e-6
        model.optimizer.iterations.assign(restart)
        assert float(model.optimizer.learning_rate) == pytest.approx(config.learning_rate)
