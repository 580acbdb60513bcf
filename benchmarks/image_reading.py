"""Compares the speed of reading image files with that of Keras's own readers.

python benchmarks/image_reading.py --images 5000

In one run, on the same generated PNG files of mixed size and depth in one folder per class: a table's first load
(hashes, decoding, cache file) and its second (hashes, cache file), each read to the last image, one pass over
``keras.utils.image_dataset_from_directory``, and one over ``tf.data`` with antialiased resizing, which our reader does
and Keras's does not. The readers alternate over the rounds, and medians are reported. Processor time is reported too,
since a machine with other work gives more of its time to a reader with more threads.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from PIL import Image

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.data.options import OwnImages
from keras_lnn.terminal import make_console, print_rows, start_keras

_CLASSES = ("benign", "malignant")
_BATCH = 256


class ReadingCommand(pydantic.BaseModel):
    """Measure how many images a second come from PNG files, beside Keras's own reader."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    images: int = pydantic.Field(5000, ge=20, description="number of files to generate")
    size: int = pydantic.Field(64, ge=8, description="side of the images in pixels")
    rounds: int = pydantic.Field(3, ge=1, description="number of times that each measurement is taken")
    json_output: bool = pydantic.Field(False, alias="json", description="print one JSON object instead of the table")


def main(arguments: Sequence[str]) -> int:
    """Measures the readers and prints the results."""
    command = parse_command(ReadingCommand, arguments, "benchmarks/image_reading.py")
    console = make_console(stderr=True)
    start_keras(console)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(command, Path(folder))
    if command.json_output:
        print(json.dumps(rows, indent=2))
        return 0
    print_rows(rows, f"{command.images:,} PNG files to {command.size} pixels (medians)", digits=2)
    return 0


def measure(command: ReadingCommand, folder: Path) -> list[dict[str, Any]]:
    """Returns one row per reader."""
    table = generate(folder, command.images)
    theirs = [("image_dataset_from_directory", read_directory), ("tf.data, antialiased", read_antialiased)]
    ours = [("first load", read_table), ("second load", read_table)]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in ours + theirs}
    for turn in range(command.rounds):
        os.environ["KERAS_LNN_CACHE"] = str(folder / f"cache-{turn}")
        for name, reader in ours + theirs if turn % 2 == 0 else theirs + ours:
            seconds[name].append(_time(reader, table, command))
    medians = {name: np.median(taken, axis=0).tolist() for name, taken in seconds.items()}
    base = medians["image_dataset_from_directory"][0]
    return [
        {
            "reader": name,
            "seconds": wall,
            "processor_seconds": processor,
            "images_per_second": command.images / wall,
            "times_as_fast": base / wall,
        }
        for name, (wall, processor) in medians.items()
    ]


def generate(folder: Path, count: int) -> Path:
    """Writes smooth noise that resembles radiographs: 200 to 500 pixels, 8 and 16 bits, a fifth of them in colour."""
    generator = np.random.default_rng(0)
    lines = ["file,label"]
    for number in range(count):
        height, width = generator.integers(200, 501, 2)
        coarse = generator.integers(0, 200, (height // 8 + 1, width // 8 + 1), dtype=np.uint8)
        grey = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        grey = grey + generator.integers(0, 6, grey.shape, dtype=np.uint8)
        name = f"{_CLASSES[number % 2]}/{number:05}.png"
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = {0: grey.astype(np.uint16) * 257, 1: np.stack([grey, grey // 2, 255 - grey], axis=-1)}
        Image.fromarray(pixels.get(number % 5, grey)).save(folder / "images" / name, compress_level=6)
        lines.append(f"{name},{_CLASSES[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


def read_table(table: Path, command: ReadingCommand) -> int:
    """Loads a table and reads every image once."""
    from keras_lnn.data import load_data

    data = load_data(
        f"table:{table}", size=command.size, own=OwnImages(image_dir=table.parent / "images", window=(32768.0, 65536.0))
    )
    read = 0
    for split in data.splits.values():
        for start in range(0, len(split), _BATCH):
            read += len(split.images[start : start + _BATCH])
    return read


def read_directory(table: Path, command: ReadingCommand) -> int:
    """Reads the same files through Keras, with three channels like our reader, but bilinear."""
    import keras

    data = keras.utils.image_dataset_from_directory(
        table.parent / "images",
        image_size=(command.size, command.size),
        batch_size=_BATCH,
        shuffle=False,
        interpolation="bilinear",
        verbose=False,
    )
    return sum(len(images) for images, _ in data)


def read_antialiased(table: Path, command: ReadingCommand) -> int:
    """Reads the same files through tf.data, with antialiased downscaling like our reader."""
    import tensorflow as tf

    def decode(file: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_png(tf.io.read_file(file), channels=3)
        return tf.cast(tf.image.resize(image, (command.size, command.size), antialias=True), tf.uint8)

    files = sorted(str(file) for file in (table.parent / "images").rglob("*.png"))
    data = tf.data.Dataset.from_tensor_slices(files).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    return sum(len(images) for images in data.batch(_BATCH).prefetch(tf.data.AUTOTUNE))


def _time(reader: Callable[[Path, ReadingCommand], int], table: Path, command: ReadingCommand) -> tuple[float, float]:
    begun, processor_begun = time.perf_counter(), _processor_seconds()
    read = reader(table, command)
    taken = time.perf_counter() - begun, _processor_seconds() - processor_begun
    if read != command.images:
        raise RuntimeError(f"{getattr(reader, '__name__', reader)} gave {read} of {command.images} images")
    return taken


def _processor_seconds() -> float:
    """Returns the processor time of this process and of the processes that it has started."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


if __name__ == "__main__":
    run_main(main)
