"""One recurrence for every backend: a function over the steps of a sequence."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_lnn.backend import builds_plain_graphs, scan


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
    """What a recurrence gives at each step.

    Args:
        step: From what is carried and this step's inputs to what is carried on, of the same structure, shapes and
            types, and what the step gives.
        start: What the first step is handed.
        inputs: Tensors, or a structure of them, with the steps first.
        like: Tensors such as the steps give; those of ``start`` if not given.
        reverse: Whether the last step comes first; results keep their steps.
        unroll: Whether the steps become one long program instead of a loop; needs a known number of steps.
        with_last: Whether to return what the last step carries on, too.

    Returns:
        What the steps give, with the steps first; or what is carried in the end, and that.
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
