"""Recurrences over the steps of a sequence."""

from collections.abc import Callable
from typing import Any

import keras


def scan(step: Callable[[Any, Any], tuple[Any, Any]], start: Any, inputs: Any, like: Any, reverse: bool) -> Any:
    """Returns the final carry of a loop and the result of each step; see :func:`keras_lnn.layers.scanning.scan_steps`.

    The TensorFlow version of ``keras.ops.scan`` sets no maximum number of steps, without which XLA has no gradient of a
    loop, and requires a step's result to have the structure of the carry.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.scan(step, start, inputs, reverse=reverse)
    import tensorflow as tf

    flatten, pack = keras.tree.flatten, keras.tree.pack_sequence_as
    values = [tf.convert_to_tensor(value) for value in flatten(inputs)]
    count = values[0].shape[0]
    steps = tf.shape(values[0])[0] if count is None else count
    sources = [tf.TensorArray(value.dtype, steps, element_shape=value.shape[1:]).unstack(value) for value in values]
    results = [tf.TensorArray(value.dtype, steps, element_shape=value.shape) for value in flatten(like)]

    def body(index: Any, carry: list[Any], results: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        place = steps - 1 - index if reverse else index
        carry, given = step(pack(start, carry), pack(inputs, [source.read(place) for source in sources]))
        results = [array.write(place, value) for array, value in zip(results, flatten(given), strict=True)]
        return index + 1, flatten(carry), results

    loop = (0, [tf.convert_to_tensor(value) for value in flatten(start)], results)
    _, carry, results = tf.while_loop(lambda index, *_: index < steps, body, loop, maximum_iterations=count)
    return pack(start, carry), pack(like, [array.stack() for array in results])


def scan_states(step: Callable[..., list[Any]], start: list[Any], inputs: Any, constants: Any) -> list[Any]:
    """Returns the states after each step, steps first, with a gradient that recomputes every step on the way back.

    It stores only the states, and unlike TensorFlow's own gradient of a loop it can leave a compiled program.

    Args:
        step: Function from states, this step's inputs and the constants to the next states; it reads no other weights.
        start: The initial states.
        inputs: A structure of tensors with the steps first.
        constants: A structure of tensors.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.scan(lambda states, here: (step(states, here, constants),) * 2, start, inputs)[1]
    import tensorflow as tf

    flatten, pack = keras.tree.flatten, keras.tree.pack_sequence_as
    ends = len(start), len(start) + len(flatten(inputs))

    @tf.custom_gradient
    def run(*tensors: Any) -> tuple[Any, Any]:
        first, steps = list(tensors[: ends[0]]), list(tensors[ends[0] : ends[1]])
        constant = list(tensors[ends[1] :])

        def take(states: list[Any], steps: list[Any], constant: list[Any]) -> list[Any]:
            return step(states, pack(inputs, steps), pack(constants, constant))

        def step_on(states: list[Any], here: list[Any]) -> tuple[Any, Any]:
            after = take(states, here, constant)
            return after, after

        _, history = scan(step_on, first, steps, first, reverse=False)

        def step_back(carry: Any, here: Any) -> tuple[Any, Any]:
            (adjoints, sums), (upstream, *sources) = carry, here
            sources = [*sources, constant]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(sources)
                after = take(*sources)
            arrived = [adjoint + given for adjoint, given in zip(adjoints, upstream, strict=True)]
            zero = tf.UnconnectedGradients.ZERO
            state_gradients, step_gradients, constant_gradients = tape.gradient(
                after, sources, arrived, unconnected_gradients=zero
            )
            return (
                state_gradients,
                [total + given for total, given in zip(sums, constant_gradients, strict=True)],
            ), step_gradients

        def gradient(*upstream: Any) -> list[Any]:
            before = [tf.concat([state[None], states[:-1]], 0) for state, states in zip(first, history, strict=True)]
            nothing = ([tf.zeros_like(state) for state in first], [tf.zeros_like(value) for value in constant])
            here, like = (list(upstream), before, steps), [values[0] for values in steps]
            (first_gradients, constant_gradients), step_gradients = scan(step_back, nothing, here, like, reverse=True)
            return [*first_gradients, *step_gradients, *constant_gradients]

        return tuple(history), gradient

    return list(run(*start, *flatten(inputs), *flatten(constants)))
