"""Tensors: their gradients, and whether their values are known."""

from collections.abc import Callable
from typing import Any

import keras


def gradients_of(function: Callable[[list[Any]], tuple[Any, Any]], values: list[Any]) -> tuple[list[Any], Any]:
    """Returns the gradient of a function with respect to each of some tensors, and what it returns beside its result.

    Args:
        function: Function from a list of tensors to a scalar and anything else that is computed on the way; a tensor
            that it does not use has a gradient of zeros.
        values: The tensors.
    """
    values = [keras.ops.convert_to_tensor(value) for value in values]
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function, has_aux=True)(values)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Gradients need TensorFlow or JAX. Received: {keras.backend.backend()}. Set KERAS_BACKEND.")
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        result, beside = function(values)
    return tape.gradient(result, values, unconnected_gradients=tf.UnconnectedGradients.ZERO), beside


def is_known(tensor: Any) -> bool:
    """Returns whether a tensor's values can be read now: not while a graph is built or a function is traced."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.is_symbolic_tensor(tensor)
    if keras.backend.backend() == "jax":
        from jax.core import Tracer

        return not isinstance(tensor, Tracer)
    return True
