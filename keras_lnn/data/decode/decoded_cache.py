"""A cache of decoded images, found again by the content of the image files and how they were rendered."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from keras_lnn.data.arrays import ImageArray
from keras_lnn.data.decode.copies import fingerprint
from keras_lnn.data.decode.decoding_pool import PixelFile, decode_to_file
from keras_lnn.data.decode.faults import Decoded
from keras_lnn.data.decode.file_frames import FileFrame, ImageFile, share_windows
from keras_lnn.data.decode.images import DECODING, Progress, quiet_decoders, worker_count
from keras_lnn.data.disk import DiskArray, are_as_stamped, stamp_files
from keras_lnn.data.options import Rendering
from keras_lnn.errors import FullDiskError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, atomic_path, cache_folder, remove_partial_files, write_json


@dataclasses.dataclass(frozen=True)
class CachedImages:
    """Images on disk.

    Args:
        images: uint8, one row per image; zeros if it could not be read.
        decoded: The faults, and other findings of decoding.
        prints: Result of :func:`~keras_lnn.data.decode.copies.fingerprint`; None for masks.
    """

    images: ImageArray
    decoded: Decoded
    prints: np.ndarray | None = None


def open_or_decode(
    files: Sequence[ImageFile],
    digests: Sequence[str],
    shape: tuple[int, ...],
    rendering: Rendering,
    *,
    series: Sequence[int] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> CachedImages:
    """Opens the decoded images of some files, or decodes them first, piece by piece so that memory use stays constant.

    The rows are written to the file and not through a memory map, for the reason given in
    :class:`~keras_lnn.data.disk.DiskArray`. Files that cannot be read are recorded, so that they are not tried again
    until their content changes; if the reason may lie outside of the files, all of them are decoded again.

    Args:
        files: The image files.
        digests: A hash of the content of each file.
        shape: The shape of one image or volume.
        rendering: How the files become pixels.
        series: The number of the series of each image; None if images do not belong to series.
        folder: Folder of the cache; the folder of own images in the usual one if not given.
        progress: Called with the fraction of the images that is decoded.

    Returns:
        The images in the order of the files.
    """
    kinds = [digest + file.suffix.lower() for file, digest in zip(files, digests, strict=True)]
    depends_on = (DECODING, kinds, shape, dataclasses.astuple(rendering), *([] if series is None else [series]))
    key = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:32]
    folder = (cache_folder() / "own-images" if folder is None else folder) / key
    images_file, prints_file, facts_file = folder / "images.npy", folder / "prints.npy", folder / "facts.json"
    written = [images_file, *([prints_file] if rendering.classes is None else [])]
    decoded = _read_facts(facts_file)
    if decoded is None:
        if series is not None and rendering.window is None:
            with quiet_decoders():
                files = share_windows(cast("Sequence[FileFrame]", files), series, worker_count())
        decoded = _write(images_file, files, shape, rendering, progress)
        if prints_file in written:
            with atomic_path(prints_file) as temporary:
                digests = [decoded.digests.get(row, "") for row in range(len(files))]
                np.save(temporary, fingerprint(DiskArray(images_file), digests))
        if decoded.is_final:
            stamp = stamp_files(folder, [file.name for file in written])
            facts = {"faults": decoded.faults, "brightest": decoded.brightest, "frames": decoded.frames}
            write_json(facts_file, facts | {"stamp": stamp})
    prints = np.load(prints_file) if prints_file in written else None
    return CachedImages(DiskArray(os.fspath(images_file)), decoded, prints)


def _read_facts(file: Path) -> Decoded | None:
    """Returns the record that a finished run wrote last; None if there is none, or if the images changed since."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not are_as_stamped(file.parent, content["stamp"]):
            return None
        faults, frames = ({int(row): value for row, value in content[name].items()} for name in ("faults", "frames"))
        return Decoded(faults, content["brightest"], frames=frames)
    except DAMAGED_FILE_ERRORS:
        return None


def _write(
    file: Path,
    files: Sequence[ImageFile],
    shape: tuple[int, ...],
    rendering: Rendering,
    progress: Progress | None,
) -> Decoded:
    file.parent.mkdir(parents=True, exist_ok=True)
    for folder in (file.parent, *file.parent.parent.iterdir()):
        remove_partial_files(folder)
    needed = len(files) * math.prod(shape)
    if shutil.disk_usage(file.parent).free < needed + 2**20:
        raise FullDiskError(
            f"The decoded images need {needed / 2**30:.1f} GiB on the cache's disk. Received: {file.parent} with less"
            " room. Point KERAS_LNN_CACHE to a larger disk or choose a smaller side."
        )
    with atomic_path(file) as temporary:
        with open(temporary, "wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}
            np.lib.format.write_array_header_1_0(stream, header)
            offset = stream.tell()
            stream.truncate(offset + needed)
        return decode_to_file(files, PixelFile(temporary, offset, shape, rendering), progress)
