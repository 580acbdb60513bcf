"""One recurrence for every backend: applies a function to the steps of a sequence in turn."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_lnn.backend.loops import scan
from keras_lnn.backend.programs import builds_plain_graphs


def scan_steps(
    step: Callable[[Any, Any], tuple[Any, Any]],
    start: Any,
    inputs: Any,
    *,
    like: Any = None,
    reverse: bool = False,
    unroll: bool = False,
    with_last: bool = False,
) -> Any:
    """Runs a recurrence and returns its result at each step.

    Args:
        step: Function from the carry and this step's inputs to the next carry, of the same structure, shapes and
            types, and the step's result.
        start: The carry of the first step.
        inputs: Tensors, or a structure of them, with the steps first.
        like: Tensors with the shapes and types of a step's result; those of ``start`` if not given.
        reverse: Whether to begin with the last step; results keep their steps.
        unroll: Whether to unroll the steps into one long program instead of a loop; needs a known number of steps.
        with_last: Whether to return the final carry, too.

    Returns:
        The results of the steps, with the steps first; or the final carry and these.
    """
    if not (unroll or builds_plain_graphs()):
        last, results = scan(step, start, inputs, start if like is None else like, reverse)
        return (last, results) if with_last else results
    count = keras.tree.flatten(inputs)[0].shape[0]
    if count is None:
        raise ValueError(
            "unroll needs a known number of steps. Received: None. Give the sequence's length or unroll=False."
        )
    carry, results = start, []
    for index in reversed(range(count)) if reverse else range(count):
        carry, result = step(carry, keras.tree.map_structure(lambda values, index=index: values[index], inputs))
        results.append(result)
    results = results[::-1] if reverse else results
    stacked = keras.tree.map_structure(lambda *values: ops.stack(values), *results)
    return (carry, stacked) if with_last else stacked
