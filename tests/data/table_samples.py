"""Tables with images for the tests."""

import csv

import numpy as np
from PIL import Image

from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.tables import load_table


def write_images(folder, count, shape=(6, 5)):
    """The file 107.png is filled with 107."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(np.full(shape, k, np.uint8)).save(folder / f"{k:03}.png")


def write_table(path, header, rows, separator=","):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=separator).writerows([header, *rows])
    return path


def write_classes(root, count=20, header=("file", "label"), extra=lambda k: (), separator=","):
    write_images(root / "images", count)
    rows = [(f"{k:03}.png", "malignant" if k % 2 else "benign", *extra(k)) for k in range(count)]
    return write_table(root / "labels.csv", header, rows, separator)


def load(table, **options):
    side = options.pop("side", 2)
    seed = options.pop("seed", 0)
    return load_table(
        table, Reading(own=OwnImages(**{"image_dir": table.parent / "images"} | options), size=side, seed=seed)
    )


def sizes(data):
    return {name: len(split) for name, split in data.splits.items()}


def warnings_of(data):
    """Returns the warnings except the one that patients are unknown."""
    return tuple(warning for warning in data.check.warnings if "it is not known which" not in warning)
