"""Measures time and memory of reading more images than fit into memory: loading them twice, and one pass of training.

python benchmarks/streaming.py --images 2000,10000 --csv docs/results/tables/streaming.csv --hardware "two CPU cores"

Each step runs in a fresh process: the first load (hashes of files, decoding into the cache, splits, search for copies),
the second one (hashes, cache, splits, search for copies), and one epoch of the batches that training reads, without a
network. The anonymous resident set is what a process holds in memory of its own, and must not grow with the size of all
images; file-backed memory is given back when it is needed. Both are the highest sums over the process and the processes
that decode for it, sampled twenty times a second.
"""

import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import pydantic
from PIL import Image

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.data.arrays import ImageData
from keras_lnn.files.atomic import atomic_path
from keras_lnn.terminal import loading, make_console, print_rows, start_keras

_CLASSES = ("benign", "malignant")
# Pixels of one value along each side, so that files are small and quick to decode, and no two are alike.
_BLOCK = 16
_EVERY_SECONDS = 0.05


class StreamingCommand(pydantic.BaseModel):
    """Measure seconds and memory of loading and streaming folders of many images."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    images: str = pydantic.Field("10000,100000", description="numbers of images, comma-separated")
    size: int = pydantic.Field(224, ge=32, description="side of the images in pixels")
    batch_size: int = pydantic.Field(64, ge=1, description="images per batch of training")
    folder: Path | None = pydantic.Field(None, description="where files are generated and removed again")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the table")
    csv: Path | None = pydantic.Field(None, description="file to write the table to")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the steps for each number of images and prints the results."""
    command = parse_command(StreamingCommand, arguments, "benchmarks/streaming.py")
    rows: list[dict[str, Any]] = []
    for count in map(int, command.images.split(",")):
        with loading(make_console(stderr=True), f"measuring {count:,} images"):
            rows += measure(count, command)
        if command.csv is not None:  # after each number, so that a stopped benchmark leaves what it has measured
            write_table(rows, command, command.csv)
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    print_rows(rows, f"Streaming images of {command.size} pixels", digits=1)
    return 0


def measure(count: int, command: StreamingCommand) -> list[dict[str, Any]]:
    """Returns one row per step for a folder of so many images, which is removed afterwards."""
    rows = []
    with tempfile.TemporaryDirectory(dir=command.folder) as folder:
        generate(Path(folder) / "images", count, command.size)
        os.environ["KERAS_LNN_CACHE"] = str(Path(folder) / "cache")
        fresh = multiprocessing.get_context("spawn")
        steps = {"first load": load, "second load": load, "one epoch, without a network": stream}
        for name, step in steps.items():
            with ProcessPoolExecutor(1, fresh) as pool:
                measured = pool.submit(measure_step, step, Path(folder) / "images", command).result()
            rows.append({"step": name, "images": count, **measured})
    return rows


def generate(folder: Path, count: int, size: int) -> None:
    """Writes grey PNG files of random blocks, in one folder per class."""
    generator = np.random.default_rng(0)
    for name in _CLASSES:
        (folder / name).mkdir(parents=True)
    blocks = -(-size // _BLOCK)
    for number in range(count):
        grey = generator.integers(0, 256, (blocks, blocks), dtype=np.uint8).repeat(_BLOCK, 0).repeat(_BLOCK, 1)
        file = folder / _CLASSES[number % 2] / f"{number:07}.png"
        Image.fromarray(grey[:size, :size]).save(file, compress_level=1)


def measure_step(
    step: Callable[[Path, StreamingCommand], tuple[float, int]], folder: Path, command: StreamingCommand
) -> dict[str, Any]:
    """Returns seconds, images a second and the peaks of both kinds of memory of one step, in this process."""
    with _PeakMemory() as peak:
        seconds, images = step(folder, command)
    return {
        "seconds": seconds,
        "images per second": images / seconds,
        "peak anonymous memory, MiB": peak.anonymous / 2**20,
        "peak file-backed memory, MiB": peak.file_backed / 2**20,
    }


def load(folder: Path, command: StreamingCommand) -> tuple[float, int]:
    """Loads the folder; returns the seconds and the number of images."""
    begun = time.perf_counter()
    data = _load(folder, command)
    return time.perf_counter() - begun, sum(map(len, data.splits.values()))


def stream(folder: Path, command: StreamingCommand) -> tuple[float, int]:
    """Reads one epoch of the training split in the order of training; returns its seconds and number of images."""
    start_keras(make_console(stderr=True))
    from keras_lnn.data.pipeline import training_batches

    train = _load(folder, command).splits["train"]
    begun = time.perf_counter()
    images = sum(len(labels) for _, labels in training_batches(train, batch_size=command.batch_size, seed=0, epochs=1))
    return time.perf_counter() - begun, images


def write_table(rows: Sequence[dict[str, Any]], command: StreamingCommand, path: Path) -> None:
    """Writes the table as a CSV file that says in its first lines how it was made."""
    import pandas as pd

    about = {
        "title": "Streaming more images than fit into memory",
        "command": f"python benchmarks/streaming.py --images {command.images} --size {command.size}",
        "protocol": f"grey PNG files of {command.size} pixels; each step in a fresh process; one epoch of the training"
        f" split (70%) in batches of {command.batch_size}, without augmentation and network; memory is summed over the"
        " process and those that decode for it",
        "seeds": "does not apply",
        "hardware": command.hardware,
    }
    head = "".join(f"# {name}: {text}\n" for name, text in about.items())
    with atomic_path(path) as temporary:
        temporary.write_text(head + pd.DataFrame(rows).to_csv(index=False, float_format="%.1f"), encoding="utf-8")


def _load(folder: Path, command: StreamingCommand) -> ImageData:
    from keras_lnn.data import load_data

    return load_data(f"folder:{folder}", size=command.size)


class _PeakMemory:
    """Samples the resident sets of this process and of the processes that it has started, while it is entered."""

    def __init__(self) -> None:
        self.anonymous = self.file_backed = 0
        self._is_over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._sampler.join()

    def _sample(self) -> None:
        this = psutil.Process()
        while not self._is_over.wait(_EVERY_SECONDS):
            numbers = [this.pid, *(child.pid for child in this.children(recursive=True))]
            both = np.sum([_resident(number) for number in numbers], axis=0)
            self.anonymous, self.file_backed = max(self.anonymous, int(both[0])), max(self.file_backed, int(both[1]))


def _resident(process: int) -> tuple[int, int]:
    """Returns the anonymous and the file-backed resident set of a process in bytes; zeros if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon", "RssFile")))
    anonymous, file_backed = (int(found.get(name, "0").split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
    return anonymous, file_backed


if __name__ == "__main__":
    run_main(main)
