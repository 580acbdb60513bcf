"""The measuring of one model in a process of its own: ``python -m keras_lnn.benchmarking.timing ORDER``.

The process imports what its runtime needs and nothing else, so that its first prediction and its memory are those of a
program that only predicts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

# A latency is the median of so many predictions, or of fewer where they take longer than this together.
_MOST_REPEATS, _FEWEST_REPEATS, _SECONDS = 200, 10, 5.0
_WARM_UP = 3
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_REPEATS_OF_BATCH, _SECONDS_A_BATCH = 3, 1.0


def main(order_file: str) -> None:
    """Measures the model that an order names, and writes what it finds to the file that it names."""
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    from keras_lnn.benchmarking.outputs import ModelOutputs
    from keras_lnn.saved.predictor import batch_size_for, load_predictor

    predictor: Any = load_predictor(order["model"])
    samples = load_samples(Path(order["samples"]))
    one_by_one = pick_in_turn(samples, 1)
    predictor.predict_compact(next(one_by_one))
    first = time.time() - order["started"]
    seconds = time_repeatedly(lambda: predictor.predict_compact(next(one_by_one)), _SECONDS, _MOST_REPEATS)
    memory = find_peak_memory()
    batches = {}
    for size in _BATCHES:
        if size > batch_size_for(samples.shape[1:]):
            break
        batches[size] = size / float(np.median(_time_batches(predictor, samples, size)))
    best = max(batches, key=lambda size: batches[size])
    outputs = ModelOutputs.of(predictor, samples)
    np.savez(order["outputs"], compact=outputs.compact, probabilities=outputs.probabilities)
    found = {
        "first_seconds": first,
        "latency_ms": 1000 * float(np.median(seconds)),
        "latency_p95_ms": 1000 * float(np.percentile(seconds, 95)),
        "repeats": len(seconds),
        "samples_per_second": batches[best],
        "batch": best,
        "memory_mib": memory / 2**20,
    }
    Path(order["result"]).write_text(json.dumps(found), encoding="utf-8")


def _time_batches(predictor: Any, samples: Any, size: int) -> np.ndarray:
    batches = pick_in_turn(samples, size)
    return time_repeatedly(lambda: predictor.predict_compact(next(batches)), _SECONDS_A_BATCH, _REPEATS_OF_BATCH)


def save_samples(images: Any, file: Path) -> None:
    """Writes samples for :func:`load_samples`.

    Args:
        images: Images, or series of images.
        file: The file, whose name ends in ``.npz``.
    """
    from keras_lnn.data.arrays import as_series

    series = as_series(images)
    if series is None:
        np.savez(file, images=images[:])
        return
    parts = {"starts": series.starts, "lengths": series.lengths, "frame_times": series.frame_times}
    kept: dict[str, Any] = {"frames": series.frames[:], "steps": series.steps, "unit": series.unit, **parts}
    np.savez(file, **kept)


def load_samples(file: Path) -> Any:
    """Returns images, or series of images, that :func:`save_samples` has written."""
    from keras_lnn.data.arrays import SeriesArray

    with np.load(file) as content:
        if "images" in content:
            return content["images"]
        arrays = {name: content[name] for name in ("frames", "starts", "lengths", "frame_times")}
        return SeriesArray(**arrays, steps=int(content["steps"]), unit=str(content["unit"]))


def pick_in_turn(samples: Any, size: int) -> Iterator[Any]:
    """Yields batches of a size without an end, each of the samples that follow those of the one before."""
    start = 0
    while True:
        rows = np.arange(start, start + size) % len(samples)
        yield samples[rows] if isinstance(samples, np.ndarray) else samples.take(rows)
        start += size


def time_repeatedly(call: Callable[[], Any], seconds: float, most: int) -> np.ndarray:
    """Returns how many seconds each of several calls takes, after a few that do not count.

    Args:
        call: What is timed.
        seconds: No more calls are made once all of them took so long together.
        most: The largest number of calls.
    """
    fewest = min(_FEWEST_REPEATS, most)
    for _ in range(min(_WARM_UP, fewest)):
        call()
    found: list[float] = []
    while len(found) < most and (len(found) < fewest or sum(found) < seconds):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return np.array(found)


def find_peak_memory() -> float:
    """Returns the largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # The other number below would include what the program had that has started this one.
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    import resource

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main(sys.argv[1])
