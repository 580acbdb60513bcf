"""Outputs of models, mostly computed eagerly: compiling a network takes far longer than one call."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import keras
import numpy as np


def outputs_of(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Returns the outputs of an eager call."""
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def outputs_before_and_after(
    model: keras.Model, inputs: np.ndarray, path: Path, *, compiled: bool = True
) -> np.ndarray:
    """Returns the outputs, which are the same after the model was in a file.

    Args:
        model: A network of any kind.
        inputs: One batch.
        path: The file.
        compiled: Whether a graph must give the same, too; once for each network is enough.
    """
    expected = outputs_of(model, inputs)
    model.save(path)
    again = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(outputs_of(again, inputs), expected)
    if compiled:
        model.jit_compile = False  # as a model that was loaded predicts on a CPU
        np.testing.assert_allclose(model.predict_on_batch(inputs), expected, rtol=1e-4, atol=1e-5)
    return expected


@contextlib.contextmanager
def without_values() -> Generator[None]:
    """Builds networks within without weight values, only with shapes."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()
