"""The benchmark of a model: its exports in each format and precision, each measured in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.backend.programs import using_many_models
from keras_lnn.benchmarking.fidelity import Fidelity, measure_fidelity
from keras_lnn.benchmarking.outputs import ModelOutputs
from keras_lnn.benchmarking.timing import save_samples
from keras_lnn.data.arrays import Split, name_samples
from keras_lnn.errors import InputError
from keras_lnn.saved.export import export_model
from keras_lnn.saved.formats import FORMATS
from keras_lnn.saved.precisions import take_evenly
from keras_lnn.saved.serving import count_threads
from keras_lnn.saved.signature import Signature
from keras_lnn.trained.evaluate import open_model

FLOAT32 = "float32"


@dataclasses.dataclass(frozen=True)
class Measured:
    """An export that was measured.

    Args:
        format: The name of its format.
        precision: Its precision.
        size_mib: The size of its folder.
        timing: What its process has found, see :func:`keras_lnn.benchmarking.timing.main`.
        fidelity: How far it is from its Keras model.
    """

    format: str
    precision: str
    size_mib: float
    timing: dict[str, float]
    fidelity: Fidelity

    @property
    def name(self) -> str:
        """Returns its format, with its precision where that is lower than float32."""
        return self.format if self.precision == FLOAT32 else f"{self.format} {self.precision}"

    def to_row(self) -> dict[str, Any]:
        """Returns its row of benchmark.csv."""
        fidelity = self.fidelity
        metric, exported, loss = fidelity.metric, fidelity.exported, fidelity.loss
        return {
            "format": self.format,
            "precision": self.precision,
            "size_mib": self.size_mib,
            **self.timing,
            "largest_difference": fidelity.largest,
            "changed_decisions": fidelity.changed,
            metric: exported.value,
            f"{metric}_low": exported.low,
            f"{metric}_high": exported.high,
            "loss": loss.value,
            "loss_low": loss.low,
            "loss_high": loss.high,
        }


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What was measured of a model.

    Args:
        signature: The model.
        samples: The number of samples and what they are.
        processor: The name of the processor.
        threads: The number of its threads that each process could use.
        rows: Each export that was measured.
        notes: Why others were not, one sentence each.
    """

    signature: Signature
    samples: str
    processor: str
    threads: int
    rows: tuple[Measured, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the content of benchmark.json."""
        known = self.signature
        about = {"model": known.model, "data": known.data, "task": known.task, "metric": known.get_task().leading}
        machine = {"samples": self.samples, "processor": self.processor, "threads": self.threads}
        return about | machine | {"rows": [one.to_row() for one in self.rows], "notes": list(self.notes)}


def list_jobs(formats: Sequence[str], precisions: Sequence[str]) -> list[tuple[str, str]]:
    """Returns each format with each precision that it has.

    Args:
        formats: Names of formats.
        precisions: Names of precisions, with ``float32``.
    """
    return [(name, one) for name in formats for one in precisions if one in (FLOAT32, *FORMATS[name].precisions)]


def list_installed() -> list[str]:
    """Returns the names of the formats that can be written and run here."""
    found = []
    for name, format in FORMATS.items():
        try:
            format.require_installed(writing=True)
        except InputError:
            continue
        found.append(name)
    return found


def run_benchmark(
    model: str | Path,
    jobs: Sequence[tuple[str, str]],
    samples: int | None = None,
    progress: Callable[[float, str], None] = lambda fraction, what: None,
) -> Benchmark:
    """Exports a model in each format and precision, and measures each export in a process of its own.

    Args:
        model: A run or a ``.keras`` file, whose data must be there.
        jobs: Formats and precisions, see :func:`list_jobs`.
        samples: At most so many samples of the validation split, evenly spaced; None for all.
        progress: Called with the fraction done and what is done next.
    """
    with using_many_models():
        return _run(model, jobs, samples, progress)


def _run(
    model: str | Path, jobs: Sequence[tuple[str, str]], samples: int | None, progress: Callable[[float, str], None]
) -> Benchmark:
    opened = open_model(model, split="val")
    whole = opened.chosen.joined()
    split = whole if samples is None or samples >= len(whole) else _take_split(whole, samples)
    reference = ModelOutputs.of(opened.predictor, split.images)
    images, rows, notes = take_evenly(split.images), [], []
    with tempfile.TemporaryDirectory() as folder:
        save_samples(split.images, Path(folder, "samples.npz"))
        for number, (format, precision) in enumerate(jobs):
            progress(number / len(jobs), f"measuring {format} in {precision}")
            place = Path(folder, f"{format}-{precision}")
            reduced = None if precision == FLOAT32 else precision
            try:
                export_model(model, place, format, None, images, reduced)
                timing, outputs = measure_apart(place, Path(folder, "samples.npz"))
            except InputError as error:
                notes.append(f"{format} in {precision} was not measured: {error}")
                continue
            fidelity = measure_fidelity(opened.signature, split, reference, outputs)
            rows.append(Measured(format, precision, _find_size(place), timing, fidelity))
    count = f"{len(split):,} {name_samples(split.images)}"
    return Benchmark(opened.signature, count, name_processor(), count_threads(), tuple(rows), tuple(notes))


def measure_apart(model: Path, samples: Path) -> tuple[dict[str, float], ModelOutputs]:
    """Returns what a process of its own measures of a saved model, and what the model predicts.

    Args:
        model: The folder or file of the model.
        samples: A file of :func:`keras_lnn.benchmarking.timing.save_samples`.
    """
    with tempfile.TemporaryDirectory() as folder:
        order, result, outputs = (Path(folder, name) for name in ("order.json", "result.json", "outputs.npz"))
        places = {"model": model, "samples": samples, "result": result, "outputs": outputs}
        content = {name: str(path.resolve()) for name, path in places.items()} | {"started": time.time()}
        order.write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, "-m", "keras_lnn.benchmarking.timing", str(order)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "it was stopped").splitlines()[-1]
            raise InputError(f"A model must predict in a process of its own. Received: {model.name} ({last}).")
        with np.load(outputs) as found:
            predicted = ModelOutputs(found["compact"], found["probabilities"])
        return json.loads(result.read_text(encoding="utf-8")), predicted


def name_processor() -> str:
    """Returns the name of the processor, as far as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _find_size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def _take_split(split: Split, count: int) -> Split:
    """Returns samples that are evenly spaced over a split: they are often sorted by class."""
    rows = np.unique(np.linspace(0, len(split) - 1, count).round().astype(int))
    taken = split.take_labels(rows)
    series = split.series
    images = split.images[rows] if series is None else series.take(rows)
    return dataclasses.replace(taken, images=images)
