"""Image files as a model reads them: found, their headers checked, and their pixels read some files at a time."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path
from typing import Literal

import numpy as np

from keras_lnn.data.checking import is_dark, name_some
from keras_lnn.data.decode.faults import Decoded, describe_faults, name_fault
from keras_lnn.data.decode.image_finding import find_images, walk_folders
from keras_lnn.data.decode.images import decode_images, quiet_decoders, worker_count
from keras_lnn.data.decode.mask_pixels import native_grid
from keras_lnn.data.decode.medical_files import is_medical, is_nifti, is_volume
from keras_lnn.data.disk import read_npy_header
from keras_lnn.data.options import OwnImages
from keras_lnn.data.sources.own_images import describe_frames
from keras_lnn.data.sources.series_files import is_series_file
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, is_file, require_file
from keras_lnn.saved.own_series import OwnSeries, find_series
from keras_lnn.saved.series_files import check_series_header
from keras_lnn.saved.signature import Signature

_FILES_AT_A_TIME = 256
_OF_SERIES = (".csv", ".tsv", ".npz")


def find_inputs(paths: Sequence[Path], signature: Signature, own: OwnImages | None = None) -> list[Path]:
    """Returns the files that a model predicts.

    Args:
        paths: What was named on a command line.
        signature: The signature of the model.
        own: Columns, folders and the unit of tables of series as the user gives them.
    """
    if signature.time_unit is not None:
        found = find_series(paths, signature, own or OwnImages())
        return [file for each in found for file in (each.list_files() if isinstance(each, OwnSeries) else [each])]
    return find_files(paths, volumes=len(signature.image_shape) == 4)


def find_files(paths: Sequence[Path], volumes: bool) -> list[Path]:
    """The image files, or the ``.npy`` and NIfTI files of volumes, that paths and folders name."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"An image must be a file or a folder. Received: {path}, which does not exist.")
        if path.is_dir() and volumes:
            files += [path] if is_volume(path) else _find_volumes(path)
        elif path.is_dir():
            files += find_images(path)
        else:
            require_file(path, "An image")
            files.append(path)
    if not files:
        kind = ".npy or NIfTI volumes" if volumes else "images"
        raise InputError(f"There must be {kind} to predict. Received: {', '.join(map(str, paths))} without any.")
    return files


def check_headers(files: Sequence[Path], signature: Signature, skip_bad: bool) -> None:
    """Checks what the headers of image files say, which takes a moment where the pixels would take minutes.

    Args:
        files: Image files.
        signature: The signature of the model that is to read them.
        skip_bad: Whether files that cannot be read are left out; then one must be left.
    """

    def find_fault(file: Path) -> str | None:
        try:
            if signature.time_unit is None:
                _read_header(file, signature.image_shape)
            elif file.suffix.lower() == ".npz":
                check_series_header(file, signature)
            elif not is_medical(file):  # the times of others have been read from their headers
                file.stat()
                _read_header(file, signature.image_shape[1:])
        except Exception as error:  # what decoders raise on damaged files has no common class
            return name_fault(error)
        return None

    with quiet_decoders(), ThreadPoolExecutor(worker_count()) as pool:
        found = enumerate(pool.map(find_fault, files, chunksize=64))
        faults = {row: fault for row, fault in found if fault is not None}
    _require_readable(faults, files, skip_bad)


class FileReader:
    """Reads image files in the size that a model reads, some at a time.

    Args:
        files: Image files.
        signature: The signature of the model.
        skip_bad: Whether files that cannot be read are left out; else they are an error.
        warn: Called after the last file with what may spoil the predictions, one sentence each.
    """

    def __init__(
        self, files: Sequence[Path], signature: Signature, skip_bad: bool, warn: Callable[[str], None] | None
    ) -> None:
        self._files = files
        self._signature = signature
        self._skip_bad = skip_bad
        self._warn = warn
        self._faults: dict[int, str] = {}
        self._brightest: int | None = None
        self._frames: dict[int, int] = {}

    def read(self, progress: Callable[[float], None] | None = None) -> Iterator[tuple[np.ndarray, list[Path]]]:
        """Gives images, uint8, with their files, until all are read.

        Args:
            progress: Called with the fraction done, each time that the images before have been worked on.
        """
        for start in range(0, len(self._files), _FILES_AT_A_TIME):
            piece = self._files[start : start + _FILES_AT_A_TIME]
            images = np.zeros((len(piece), *self._signature.image_shape), np.uint8)
            found = _read_pixels(piece, images, self._signature)
            self._faults |= {start + row: fault for row, fault in found.faults.items()}
            self._frames |= {start + row: count for row, count in found.frames.items()}
            self._brightest = max((self._brightest or 0, found.brightest or 0)) or None
            if not self._skip_bad:
                _require_readable(self._faults, self._files, False)
            good = [row for row in range(len(piece)) if row not in found.faults]
            if good:
                yield images[good], [piece[row] for row in good]
            if progress:
                progress(min(1.0, (start + _FILES_AT_A_TIME) / len(self._files)))
        _require_readable(self._faults, self._files, self._skip_bad)
        self._report_place()

    def _report_place(self) -> None:
        if self._warn is None:
            return
        if self._faults:
            bad = [f"{self._files[row]} ({self._faults[row]})" for row in sorted(self._faults)]
            self._warn(f"left out {len(bad)} of {len(self._files)} files: {name_some(bad)}")
        if self._frames:
            self._warn(self._describe_frames())
        if self._brightest is not None and self._signature.own.window is None and is_dark(self._brightest):
            self._warn(
                f"the brightest value of all 16-bit files is {self._brightest}, so the images are nearly black for this"
                " model, which has no window: its predictions hold for such files only if it learned from such files"
            )

    def _describe_frames(self) -> str:
        """Returns a sentence on files with several frames, and on models that read all of them."""
        said = describe_frames(list(self._frames.values()), len(self._files), self._signature.own.frame)
        of_times = any(is_series_file(self._files[row]) for row in self._frames)
        offer = "; a model of series, such as lnn-series, reads all of them with their times"
        return said + (offer if of_times and not self._signature.get_task().resizes_labels else "")


def _require_readable(faults: Mapping[int, str], files: Sequence[Path], skip_bad: bool) -> None:
    if faults and (not skip_bad or len(faults) == len(files)):
        remedy = "" if skip_bad else "Replace or remove them, or skip them with --skip-bad."
        raise InputError(describe_faults(dict(faults), files, remedy))


def _read_header(file: Path, image_shape: tuple[int, ...]) -> None:
    """Checks that a file is an image or a volume, as the model reads them, as far as its first bytes say."""
    from PIL import Image

    if file.suffix.lower() in _OF_SERIES:
        raise InputError("no image, but a table or an archive, which only models of series read")
    if not is_file(file) and not (file.is_dir() and is_volume(file)):
        raise InputError("not a file")
    if len(image_shape) == 4 and not is_medical(file):
        with _open_volume(file, image_shape):
            return
    if is_medical(file):
        axes = len(native_grid(file).shape)
    else:
        Image.open(file).close()
        axes = 2
    if axes != len(image_shape) - 1:
        raise InputError("a volume among images" if axes == 3 else "an image among volumes")


def _read_pixels(files: Sequence[Path], into: np.ndarray, signature: Signature) -> Decoded:
    """Reads image files into an array, each into its row, and returns what is wrong with those that have none."""
    rendering = signature.own.rendering
    if into.ndim == 4:
        return decode_images(files, into, rendering)
    found = Decoded()
    for row, file in enumerate(files):
        if is_medical(file):
            fault = decode_images([file], into[row : row + 1], rendering).faults.get(0)
        else:
            fault = _read_array(file, into[row])
        if fault is not None:
            found.faults[row] = fault
    return found


def _read_array(file: Path, into: np.ndarray) -> str | None:
    """Reads a volume from an ``.npy`` file, or returns what is wrong with it."""
    values = np.empty(into.size, np.uint8)
    try:
        with _open_volume(file, into.shape) as (stream, order):
            if stream.readinto(values.data) != into.size:
                return "truncated"
    except (InputError, OSError) as error:
        return name_fault(error)
    into[...] = values.reshape(into.shape, order=order)
    return None


@contextlib.contextmanager
def _open_volume(file: Path, image_shape: tuple[int, ...]) -> Generator[tuple[BufferedReader, Literal["C", "F"]]]:
    """Opens an ``.npy`` file of a volume of this shape, perhaps without its one channel, at its first value.

    Yields:
        The open file, and the order of its values. Nothing is allocated by what the file promises.
    """
    with open(file, "rb") as stream:
        try:
            shape, fortran_order, dtype = read_npy_header(stream)
        except DAMAGED_FILE_ERRORS:
            raise InputError("not a .npy file of plain numbers") from None
        if dtype != np.uint8 or shape not in (image_shape, image_shape[:-1]):
            raise InputError(f"{dtype} of {shape}, where the model reads uint8 of {image_shape}")
        yield stream, "F" if fortran_order else "C"


def _find_volumes(folder: Path) -> list[Path]:
    places = [path for place, names in walk_folders(folder) for path in (place, *(place / name for name in names))]
    return sorted(path for path in places if path.suffix == ".npy" or is_nifti(path) or is_volume(path))
