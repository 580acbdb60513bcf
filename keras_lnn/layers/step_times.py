"""The elapsed times of steps, as liquid layers take them: checked, and one for each step."""

from typing import Any

from keras import ops

from keras_lnn.backend.tensors import is_known


def split_elapsed_time(sequences: Any, dtype: str) -> tuple[Any, Any]:
    """Splits ``inputs`` or ``(inputs, elapsed_time)`` into inputs and elapsed time, which is None if not given."""
    if not isinstance(sequences, list | tuple):
        return ops.cast(sequences, dtype), None
    if len(sequences) != 2:
        raise ValueError(f"Inputs must be a tensor or (inputs, elapsed_time). Received: {len(sequences)} tensors.")
    inputs, elapsed_time = sequences
    return ops.cast(inputs, dtype), ops.cast(elapsed_time, dtype)


def require_not_negative(elapsed_time: Any) -> Any:
    """Raises an error for negative times where values are known; a compiled program turns them into NaN.

    Not every backend lets a compiled program raise. There all times of a sequence with a negative time become NaN, so
    that LTC and CfC behave alike and the mistake shows, while clipping at zero would hide it.

    Args:
        elapsed_time: (batch, steps, 1), without NaN at masked steps.
    """
    is_negative = elapsed_time < 0
    if is_known(is_negative) and bool(ops.any(is_negative)):
        smallest = float(ops.min(ops.where(is_negative, elapsed_time, ops.zeros_like(elapsed_time))))
        raise ValueError(
            f"elapsed_time must not be negative. Received: {smallest}. Give the time since the step before, or mask "
            f"the step."
        )
    nan = ops.cast(float("nan"), elapsed_time.dtype)
    return ops.where(ops.any(is_negative, axis=1, keepdims=True), nan, elapsed_time)


def add_last_axis(elapsed_time: Any, inputs: Any) -> Any:
    """Returns elapsed times (batch, steps, 1) for times (batch, steps) or (batch, steps, 1), one for each step.

    Args:
        elapsed_time: The time since the step before.
        inputs: (batch, steps, features).
    """
    rank = len(elapsed_time.shape)
    if rank not in (2, 3) or (rank == 3 and elapsed_time.shape[-1] != 1):
        raise ValueError(
            f"elapsed_time must be (batch, steps) or (batch, steps, 1). Received: shape {tuple(elapsed_time.shape)}."
        )
    known = (elapsed_time.shape[1], inputs.shape[1])
    if None not in known and known[0] != known[1]:
        raise ValueError(f"elapsed_time must have the {known[1]} steps of the inputs. Received: {known[0]} steps.")
    return elapsed_time if rank == 3 else elapsed_time[..., None]
