"""Small tables of images with random labels, and runs that have memorised them."""

import csv
import shutil

import numpy as np
from PIL import Image

from keras_lnn.config import TrainConfig

SIDE = 12
# Three images each; rows are in no order of names.
PATIENTS = 16
COPIES = {5: 30, 9: 40}


def draw_images(folder, count, seed=0):
    """Images of noise, each with its own number in its name."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for number in range(count):
        pixels = generator.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


def draw_table(root, count=3 * PATIENTS, seed=0, classes=("benign", "malignant")):
    """``labels.csv`` with ``images``, of which some have equal content and labels that differ."""
    draw_images(root / "images", count, seed)
    for number, other in COPIES.items():
        if max(number, other) < count:
            shutil.copyfile(root / "images" / f"{number:03}.png", root / "images" / f"{other:03}.png")
    order = np.random.default_rng(seed).permutation(count)
    rows = [(f"{number:03}.png", classes[number % 2], f"P{number % PATIENTS}") for number in order]
    write_rows(root / "labels.csv", rows)
    return root / "labels.csv"


def write_rows(path, rows, header=("scan", "kind", "case_no")):
    """Writes a table whose columns no option needs to be guessed from."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def read_rows(path):
    """The rows of a table below its header."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [tuple(row) for row in csv.reader(stream)][1:]


COLUMNS = {"file_column": "scan", "label_columns": ("kind",), "group_column": "case_no"}


def table_config(table, run_dir, **changes):
    """A run that learns the training images of a table by heart."""
    values = {
        "model": "quick-net",
        "model_args": {"units": 9, "activation": "tanh"},
        "data": f"table:{table}",
        "size": SIDE,
    }
    values |= {"image_dir": table.parent / "images", "run_dir": run_dir, "export_dir": run_dir.parent / "exported"}
    values |= {"epochs": 10, "batch_size": 8, "learning_rate": 0.01, "keep": "last"}
    values |= {"tensorboard": False, "explanations": False}
    return TrainConfig.create(values | COLUMNS | changes)
