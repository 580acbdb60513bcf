"""Reading uploaded files in a process of its own, which a damaged file may crash and which can be stopped.

The process reads orders from its standard input, one JSON object per line, and replies likewise; pixels go through
files in the folder of the request.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray, SeriesArray, as_series
from keras_lnn.data.decode.faults import name_fault
from keras_lnn.data.decode.medical_files import is_volume
from keras_lnn.data.options import OwnImages
from keras_lnn.errors import EnvironmentFault, InputError
from keras_lnn.fields.values import name_steps
from keras_lnn.saved.own_samples import read_own_samples
from keras_lnn.saved.signature import Signature
from keras_lnn.serving.identifying import identify, require_pixels
from keras_lnn.serving.limits import Refused
from keras_lnn.serving.sent_tables import is_table, write_tables

PIXELS, SERIES, PROBABILITIES, MASKS = "pixels.npy", "series.npz", "probabilities.npy", "masks"
_NAMED = 3
# What messages of the command line offer, and what a request has in its place.
_OFFERS = {
    "Replace or remove them, or skip them with --skip-bad.": "Leave them out, or send skip_bad.",
    "Write a table with columns series, file and time, and predict that.": "Send the time of each file as times, or a"
    " table with columns series, file and time.",
    "Choose an --image-dir above, or write whole paths.": "Name files as they are sent.",
    "; name another one with --time-unit": "",
}
# Columns of a table that is sent cannot be named by an option.
_COLUMN_OPTION = re.compile(r"(, or name yours| Name yours| Choose one) with --[a-z]+-column NAME")
# Memory that the process may reserve: what its libraries do, and what is computed of the pixels of a request.
_LIBRARY_BYTES, _BYTES_FOR_A_PIXEL = 3 * 2**30, 40


@dataclasses.dataclass
class PlacedFiles:
    """Files with the suffixes of their kinds, in one folder for each folder that they come from.

    Args:
        paths: What is read: files, and folders of the slices of a volume.
        labels: What each file and folder is called, by its path.
        left_out: Files that cannot be read, with the reasons.
    """

    paths: list[Path]
    labels: dict[str, str]
    left_out: list[str]

    def rename(self, text: str) -> str:
        """Returns a text with the labels in the place of the paths."""
        if not self.labels:
            return text
        pattern = "|".join(re.escape(path) for path in sorted(self.labels, key=len, reverse=True))
        return re.sub(pattern, lambda found: self.labels[found.group()], text)


def place_files(
    files: Sequence[Path], labels: Sequence[str], signature: Signature, most_pixels: int, *, skip_bad: bool
) -> PlacedFiles:
    """Moves files to where they can be read.

    Args:
        files: The files, whose names mean nothing.
        labels: What each is called.
        signature: Of the model.
        most_pixels: Number of pixels or voxels that all of them may hold.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
    """
    volumes, series = len(signature.image_shape) == 4 and signature.time_unit is None, signature.time_unit is not None
    all_frames = volumes or series or signature.own.frame == "mean"
    placed, total, refusals = PlacedFiles([], {}, []), 0, []
    sources = {source: number for number, source in enumerate(dict.fromkeys(map(_folder_of, labels)))}
    for number, (file, label) in enumerate(zip(files, labels, strict=True)):
        try:
            suffix, pixels = identify(file, most_pixels, all_frames=all_frames)
            require_pixels(total + pixels, most_pixels)
        except (Refused, InputError) as error:
            refusals.append(error)
            placed.left_out.append(f"{label} ({error})")
            continue
        total += pixels
        source = _folder_of(label)
        folder = file.parent / f"from-{sources[source]:04d}"
        name = file.rename(_make(folder) / f"file-{number:06d}{suffix}")
        if volumes and suffix == ".dcm" and not is_volume(name):
            # The slices of a volume are read together, and apart from other files.
            name = name.rename(_make(folder.with_name(f"{folder.name}-slices")) / name.name)
            placed.labels[str(name.parent)] = source or "slices"
            placed.paths += [] if name.parent in placed.paths else [name.parent]
        else:
            placed.labels[str(folder)] = source or "files"
            placed.paths.append(name)
        placed.labels[str(name)] = label
    if refusals and (not skip_bad or not placed.paths):
        _refuse(refusals, placed.left_out, len(files))
    return placed


def _folder_of(label: str) -> str:
    return label.rpartition("/")[0]


def _make(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _refuse(errors: Sequence[Refused | InputError], left_out: Sequence[str], count: int) -> None:
    """Raises the refusal of files that cannot be read."""
    if any(isinstance(error, EnvironmentFault) for error in errors):
        status = 415
    else:
        status = max(error.status if isinstance(error, Refused) else 422 for error in errors)
        status = 413 if any(isinstance(error, Refused) and error.status == 413 for error in errors) else status
    more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    raise Refused(
        status,
        f"Every file must be one that the model can read. Received: {len(errors)} of {count} that are not:"
        f" {', '.join(left_out[:_NAMED])}{more}.",
    )


def read_upload(folder: Path, order: Mapping[str, Any], signature: Signature, most_pixels: int) -> dict[str, Any]:
    """Reads the files of a request, and writes their pixels into its folder.

    Args:
        folder: The folder of the request.
        order: Its ``files``, ``labels``, ``skip_bad`` and ``times``.
        signature: Of the model.
        most_pixels: Number of pixels or voxels that all files may hold.

    Returns:
        The ``names`` of the samples, the ``warnings``, the ``paths`` that were read and their ``labels``.
    """
    labels = {folder / name: label for name, label in zip(order["files"], order["labels"], strict=True)}
    skip_bad, reads_series = order["skip_bad"], signature.time_unit is not None
    tables = {path: label for path, label in labels.items() if reads_series and is_table(label)}
    images = {path: label for path, label in labels.items() if path not in tables}
    placed = place_files(list(images), list(images.values()), signature, most_pixels, skip_bad=skip_bad)
    warnings = [f"left out {', '.join(placed.left_out)}"] if placed.left_out else []
    own = None if not reads_series else OwnImages(skip_bad=skip_bad)
    try:
        paths = _find_paths(folder, placed, tables, order, signature, warnings)
        samples, names = read_own_samples(signature, paths, own=own, skip_bad=skip_bad, warn=warnings.append)
    except EnvironmentFault as error:
        raise Refused(415, placed.rename(str(error))) from None
    except InputError as error:
        raise Refused(422, placed.rename(_without_options(str(error)))) from None
    series = as_series(samples)
    if series is None:
        np.save(folder / PIXELS, np.asarray(samples))
    else:
        write_series(series, folder / SERIES)
    return {
        "names": [placed.rename(name) for name in names],
        "warnings": [placed.rename(_without_options(warning)) for warning in warnings],
        "paths": [str(path) for path in placed.paths],
        "labels": placed.labels,
    }


def _without_options(message: str) -> str:
    """Returns a message with what a request offers in the place of what the command line does."""
    for offer, instead in _OFFERS.items():
        message = message.replace(offer, instead)
    return _COLUMN_OPTION.sub(lambda found: "" if found[1].startswith(",") else " Rename columns", message)


def _find_paths(
    folder: Path,
    placed: PlacedFiles,
    tables: Mapping[Path, str],
    order: Mapping[str, Any],
    signature: Signature,
    warnings: list[str],
) -> list[Path]:
    """Returns what is read of the files of a request: the files, or tables that say when each was taken."""
    times = order["times"]
    if not tables:
        return placed.paths if times is None else [_write_table(folder, placed, times, signature)]
    if times is not None or not placed.paths:
        received = "times too" if times is not None else "a table alone"
        raise Refused(422, f"A table must come with its images and without times. Received: {received}.")
    placed.labels |= {str(path): label for path, label in tables.items()}
    images = {path: placed.labels[str(path)] for path in placed.paths}
    written, more = write_tables(folder, tables, images, signature, skip_bad=order["skip_bad"])
    placed.labels |= {str(path): label for path, label in written.items()}
    warnings += more
    return list(written)


def _write_table(folder: Path, placed: PlacedFiles, times: Sequence[float], signature: Signature) -> Path:
    """Writes a table of one series with the time of each file, and returns its path."""
    if signature.time_unit is None:
        raise Refused(422, f"times are for a model of series. Received: {signature.model}, which reads images.")
    if len(times) != len(placed.paths):
        raise Refused(
            422,
            f"times must be one number for each file. Received: {len(times)} for {len(placed.paths)} files that can be"
            " read.",
        )
    path = folder / "series.csv"
    steps = name_steps(signature.time_unit)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["series", "file", f"{steps}_{signature.time_unit}"])
        writer.writerows(
            ["series", file.relative_to(folder), repr(time)] for file, time in zip(placed.paths, times, strict=True)
        )
    placed.labels[str(path)] = "series"
    return path


def write_series(series: SeriesArray, path: Path) -> None:
    """Writes series to a file, which :func:`load_samples` reads."""
    frames = np.asarray(series.frames[np.arange(len(series.frames))])
    parts: dict[str, Any] = {name: getattr(series, name) for name in ("starts", "lengths", "frame_times")}
    np.savez(path, frames=frames, steps=np.array(series.steps), unit=np.array(series.unit), **parts)


def load_samples(folder: Path) -> ImageArray:
    """Returns the samples of a request that its reader has written; images stay on disk until they are asked for."""
    if (folder / PIXELS).is_file():
        return np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False)
    with np.load(folder / SERIES, allow_pickle=False) as found:
        parts: dict[str, Any] = {name: found[name] for name in found}
    parts |= {"steps": int(parts["steps"]), "unit": str(parts["unit"])}
    return SeriesArray(**parts)


class KnownProbabilities:
    """A predictor of images whose probabilities are known, in their order."""

    def __init__(self, probabilities: np.ndarray, signature: Signature) -> None:
        self.signature = signature
        self._probabilities = probabilities
        self._given = 0

    def predict(self, images: ImageArray) -> np.ndarray:
        """Returns the probabilities of the next images as float64."""
        start, self._given = self._given, self._given + len(images)
        return self._probabilities[start : self._given].astype(np.float64)

    def predict_compact(self, images: ImageArray) -> np.ndarray:
        """Returns the most probable class of each pixel of the next images as uint8."""
        return self.signature.get_task().decide(self.predict(images)).astype(np.uint8)


def write_masks(folder: Path, order: Mapping[str, Any], signature: Signature, most_pixels: int) -> dict[str, Any]:
    """Writes the masks of the files that :func:`read_upload` has read, as ``keras-lnn predict`` does.

    Args:
        folder: The folder of the request, which holds the probabilities.
        order: Its ``paths``, ``labels`` and ``skip_bad``.
        signature: Of the model.
        most_pixels: Not asked for any more.

    Returns:
        For each sample its ``masks``, ``overlays`` and ``areas``.
    """
    from keras_lnn.saved.mask_predictions import predict_masks

    predictor = KnownProbabilities(np.load(folder / PROBABILITIES, mmap_mode="r", allow_pickle=False), signature)
    output, placed = folder / MASKS, PlacedFiles([], order["labels"], [])
    paths = [Path(path) for path in order["paths"]]
    # Beside a runtime without TensorFlow there may be nothing to draw with.
    can_draw = importlib.util.find_spec("scipy") is not None
    try:
        table = predict_masks(predictor, paths, output, overlay=can_draw, skip_bad=order["skip_bad"])
    except InputError as error:
        raise Refused(422, placed.rename(str(error))) from None
    masks = table["mask"].tolist()
    names, areas = signature.class_names, []
    for row in table.to_dict("records"):
        pixels, shares = ([row[f"{what} {name}"] for name in names] for what in ("pixels", "share"))
        found = zip(names, pixels, shares, strict=True)
        areas.append({name: {"pixels": int(count), "share": float(share)} for name, count, share in found})
    overlays = [re.sub(r"\.(png|nii|npy)$", "-overlay.png", mask) for mask in masks]
    return {"masks": masks, "overlays": overlays, "areas": areas}


_WORK: dict[str, Callable[..., dict[str, Any]]] = {"read": read_upload, "masks": write_masks}


def work() -> None:
    """Obeys the orders at standard input until it ends."""
    most_pixels = json.loads(sys.stdin.readline())["pixels"]
    _limit_memory(most_pixels)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a decoder prints is no reply
    print("{}", file=replies, flush=True)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for line in sys.stdin:
            print(json.dumps(_obey(json.loads(line), most_pixels)), file=replies, flush=True)


def _obey(order: dict[str, Any], most_pixels: int) -> dict[str, Any]:
    signature = Signature.from_json(order["signature"])
    try:
        return _WORK[order["work"]](Path(order["folder"]), order, signature, most_pixels)
    except Refused as error:
        return {"status": error.status, "error": error.message}
    except Exception as error:  # what decoders raise on damaged files has no common class
        return {"status": 422, "error": f"Every file must be readable. Received: one that is {name_fault(error)}."}


def _limit_memory(most_pixels: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # other systems have no such limits
        import resource

        most = _LIBRARY_BYTES + _BYTES_FOR_A_PIXEL * most_pixels
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
