"""Writes the images of an embedded data set as PNG files, in one folder per class or with masks, to test own images.

python benchmarks/phantom_folder.py my_images/ --images 320
python benchmarks/phantom_folder.py my_images/ --data phantom-liver-classes --splits train,val
python benchmarks/phantom_folder.py my_scans/ --data phantom-liver --splits train,val,test
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pydantic
from PIL import Image
from pydantic_settings import CliPositionalArg

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.data import load_data
from keras_lnn.data.arrays import SPLITS, ImageData
from keras_lnn.data.sources.mask_files import CLASSES, IMAGES, MANIFEST, MASKS
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import atomic_path


class FolderCommand(pydantic.BaseModel):
    """Write the images of an embedded data set into a new folder: a folder a class, or images with their masks."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    folder: CliPositionalArg[Path] = pydantic.Field(description="folder to create")
    data: str = pydantic.Field("phantom-breast", description="data set of flat images, with one class each or masks")
    images: int = pydantic.Field(100_000, ge=2, description="largest number of images, which are the first ones")
    splits: str = pydantic.Field("val,test", description="splits whose images are written, as a,b: train, val, test")


def main(arguments: Sequence[str]) -> int:
    """Writes the images and prints a summary."""
    command = parse_command(FolderCommand, arguments, "benchmarks/phantom_folder.py")
    print(write_folder(command))
    return 0


def write_folder(command: FolderCommand) -> str:
    """Writes the images and returns a summary with the number of images of each class."""
    names = command.splits.split(",")
    if unknown := set(names) - set(SPLITS):
        raise InputError(
            f"--splits must be some of {', '.join(SPLITS)}. Received: {', '.join(sorted(unknown))}. Choose from these."
        )
    if command.folder.exists():
        raise InputError(f"The folder must be new. Received: {command.folder}, which exists. Name another.")
    data = load_data(command.data)
    if data.task == "multi-label" or len(data.image_shape) != 3:
        raise InputError(
            f"The images must be flat and have one class each, or masks. Received: {command.data} ({data.task}, "
            f"{'x'.join(map(str, data.image_shape))}). Choose another."
        )
    chosen = [(name, index) for name in names for index in range(len(data.splits[name]))][: command.images]
    with atomic_path(command.folder) as folder:
        counts = (_write_masks if data.task == "segmentation" else _write_classes)(folder, data, chosen)
    return f"{command.folder}: " + ", ".join(f"{count} of {name}" for name, count in counts.items())


def _write_classes(folder: Path, data: ImageData, chosen: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Writes one folder per class; returns the number of images in each."""
    names = [re.sub(r"\W+", "-", name).strip("-") for name in data.class_names]
    counts = dict.fromkeys(names, 0)
    for name in names:
        (folder / name).mkdir(parents=True)
    for split, index in chosen:
        name = names[int(data.splits[split].labels[index])]
        counts[name] += 1
        _write_image(data.splits[split].images[index], folder / name / f"{split}-{index:05}.png")
    return counts


def _write_masks(folder: Path, data: ImageData, chosen: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Writes images, masks of class indices, and a table about them; returns the number of images with each class."""
    (folder / IMAGES).mkdir(parents=True)
    (folder / MASKS).mkdir()
    counts, rows = dict.fromkeys(data.class_names, 0), []
    for name, index in chosen:
        split, file = data.splits[name], f"{name}-{index:05}.png"
        _write_image(split.images[index], folder / IMAGES / file)
        _write_image(split.labels[index], folder / MASKS / file)
        patient = None if split.groups is None else split.groups[index]
        rows.append({"image": file, "patient": patient, "split": name})
        for place in np.unique(split.labels[index]):
            counts[data.class_names[place]] += 1
    pd.DataFrame(rows).to_csv(folder / MANIFEST, index=False)
    pd.DataFrame({"name": data.class_names, "index": range(len(data.class_names))}).to_csv(
        folder / CLASSES, index=False
    )
    return counts


def _write_image(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels.squeeze()).save(path)


if __name__ == "__main__":
    run_main(main)
