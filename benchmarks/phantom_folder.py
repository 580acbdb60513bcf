"""The images of an embedded set as PNG files in a folder a class, to try what reads one's own images.

python benchmarks/phantom_folder.py my_images/ --images 320
python benchmarks/phantom_folder.py my_images/ --data phantom-liver-classes --splits train,val
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pydantic
from PIL import Image
from pydantic_settings import CliPositionalArg

from keras_lnn.commands import parse_command, run_main
from keras_lnn.data import load_data
from keras_lnn.data.arrays import SPLITS
from keras_lnn.errors import InputError


class FolderCommand(pydantic.BaseModel):
    """Write the images of an embedded data set into a new folder, a folder a class."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    folder: CliPositionalArg[Path] = pydantic.Field(description="folder to make")
    data: str = pydantic.Field("phantom-breast", description="data set with one class an image")
    images: int = pydantic.Field(100_000, ge=2, description="how many at most, the first ones")
    splits: str = pydantic.Field("val,test", description="whose images, separated by commas: train, val, test")


def main(arguments: Sequence[str]) -> int:
    """Writes and tells what."""
    command = parse_command(FolderCommand, arguments, "benchmarks/phantom_folder.py")
    print(write_folder(command))
    return 0


def write_folder(command: FolderCommand) -> str:
    """Writes the images and says how many of each class there are."""
    names = command.splits.split(",")
    if unknown := set(names) - set(SPLITS):
        raise InputError(f"--splits are of {', '.join(SPLITS)}. Received: {', '.join(sorted(unknown))}. Name those.")
    if command.folder.exists():
        raise InputError(f"The folder must be new. Received: {command.folder}, which exists. Name another.")
    data = load_data(command.data)
    if data.task not in ("binary", "multi-class") or len(data.image_shape) != 3:
        raise InputError(
            f"A folder a class needs flat images with one class each. Received: {command.data} ({data.task}, "
            f"{'x'.join(map(str, data.image_shape))}). Choose another."
        )
    folders = [re.sub(r"\W+", "-", name).strip("-") for name in data.class_names]
    counts = dict.fromkeys(folders, 0)
    partial = command.folder.with_name(f".{command.folder.name}-{os.getpid()}")
    for name in folders:
        (partial / name).mkdir(parents=True)
    chosen = [(name, index) for name in names for index in range(len(data.splits[name]))]
    for split, index in chosen[: command.images]:
        name = folders[int(data.splits[split].labels[index])]
        counts[name] += 1
        Image.fromarray(data.splits[split].images[index].squeeze()).save(partial / name / f"{split}-{index:05}.png")
    partial.rename(command.folder)
    return f"{command.folder}: " + ", ".join(f"{count} of {name}" for name, count in counts.items())


if __name__ == "__main__":
    run_main(main)
