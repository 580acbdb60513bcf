"""Which frames of a series are kept where series are thinned."""

from __future__ import annotations

import numpy as np


def thin_evenly(times: np.ndarray, steps: int) -> np.ndarray:
    """Returns the indices of ``steps`` frames of one series that are spread as evenly in time as its frames allow.

    The first and the last frame are kept; of a single step, the last one, which the label is of.

    Args:
        times: Times of the frames of one series, (frames,), never falling.
        steps: Number of frames to keep, at least 1; a series without more frames keeps all of them.

    Returns:
        Rising indices, int64 (steps,) or (frames,).
    """
    times = np.asarray(times, np.float64)
    if steps < 1:
        raise ValueError(f"At least 1 frame of a series must be kept. Received: {steps}.")
    if steps >= len(times):
        return np.arange(len(times))
    if steps == 1:
        return np.array([len(times) - 1])
    kept = np.zeros(steps, np.int64)
    kept[-1] = len(times) - 1
    for number, wanted in enumerate(np.linspace(times[0], times[-1], steps)[1:-1], start=1):
        # Enough frames are left for the steps to come, however unevenly the frames lie.
        first, last = kept[number - 1] + 1, len(times) - (steps - number)
        after = int(np.clip(np.searchsorted(times, wanted), first, last))
        before = max(after - 1, first)
        kept[number] = before if wanted - times[before] <= times[after] - wanted else after
    return kept
