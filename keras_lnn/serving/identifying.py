"""What an uploaded file is, by its content, and how much it holds; asked before anything of it is decompressed.

The decoders trust what a file says of itself. Here what it says is compared with a limit, and files that could hold
more than they say, such as compressed ones, are unpacked only as far as they say.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from keras_lnn.data.decode.images import quiet_decoders
from keras_lnn.data.disk import read_npy_header
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS
from keras_lnn.serving.dicom_contents import count_dicom_pixels, is_dicom
from keras_lnn.serving.limits import Refused

PICTURES = ("PNG", "JPEG", "MPO", "BMP", "GIF", "TIFF", "WEBP")
_SUFFIXES = {"MPO": ".jpg", "JPEG": ".jpg", "TIFF": ".tif"}
_GZIP, _NPY, _ZIP = b"\x1f\x8b", b"\x93NUMPY", b"PK\x03\x04"
_HEAD = 1024
# A NIfTI file has so many bytes before its values at most: its header and short extensions.
_MOST_BEFORE_VALUES = 2**20
# Types of values are of at most so many bytes.
_WIDEST_VALUE = 32
_MOST_ENTRIES = 100
_KINDS = "PNG, JPEG, TIFF, BMP, GIF, WebP, DICOM, NIfTI, .npy and .npz files"


def identify(path: Path, most_pixels: int, *, all_frames: bool) -> tuple[str, int]:
    """Returns the suffix of a file's kind, and the pixels or voxels that it holds.

    A gzipped NIfTI file is replaced by what it holds.

    Args:
        path: The file, whose name means nothing.
        most_pixels: Number of pixels above which it is refused.
        all_frames: Whether all frames of a DICOM file are read, or one of them.
    """
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        raise Refused(422, "empty")
    if head.startswith(_GZIP):
        _unpack_nifti(path, most_pixels)
        with open(path, "rb") as stream:
            head = stream.read(_HEAD)
    if _is_nifti(head):
        pixels = math.prod(_read_nifti_head(head)[0])
        suffix = ".nii"
    elif is_dicom(head):
        pixels = count_dicom_pixels(path, all_frames=all_frames)
        suffix = ".dcm"
    elif head.startswith(_NPY):
        pixels = _count_npy(path)
        suffix = ".npy"
    elif head.startswith(_ZIP):
        pixels = _count_npz(path)
        suffix = ".npz"
    else:
        pixels, suffix = _count_picture(path)
    require_pixels(pixels, most_pixels)
    return suffix, pixels


def require_pixels(pixels: int, most_pixels: int) -> None:
    """Checks that there are not more pixels than allowed."""
    if pixels > most_pixels:
        raise Refused(413, f"{pixels:,} pixels, more than the {most_pixels:,} that --max-pixels allows")


def _count_picture(path: Path) -> tuple[int, str]:
    from PIL import Image

    try:
        with quiet_decoders(), Image.open(path) as image:
            kind, pixels = image.format or "", image.width * image.height
    except Image.DecompressionBombError:
        raise Refused(413, "more pixels than an image may have") from None
    except Exception:  # what decoders raise on damaged files has no common class
        raise Refused(415, f"none of {_KINDS}") from None
    if kind not in PICTURES:
        raise Refused(415, f"{kind}, none of {_KINDS}")
    return pixels, _SUFFIXES.get(kind, f".{kind.lower()}")


def _count_npy(path: Path) -> int:
    try:
        with open(path, "rb") as stream:
            return math.prod(read_npy_header(stream)[0])
    except DAMAGED_FILE_ERRORS:
        raise Refused(415, "no .npy file of plain numbers") from None


def _count_npz(path: Path) -> int:
    """Returns the bytes that an archive unpacks to, of which one is a pixel."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except DAMAGED_FILE_ERRORS:
        raise Refused(415, "not a whole .npz file") from None
    if len(entries) > _MOST_ENTRIES or not all(entry.filename.endswith(".npy") for entry in entries):
        raise Refused(415, "an archive, but none of series (.npz)")
    return sum(entry.file_size for entry in entries)


def _is_nifti(head: bytes) -> bool:
    # Values in a file of their own, ni1 and ni2, are not there.
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _read_nifti_head(head: bytes) -> tuple[tuple[int, ...], int, int]:
    """Returns the shape, the bits of a value and the bytes before the first value, as the header has them."""
    second = head[4:8] == b"n+2\0"
    for order in "<>":
        size, *_ = struct.unpack_from(f"{order}i", head, 0)
        if size != (540 if second else 348):
            continue
        count, *sides = struct.unpack_from(f"{order}8{'q' if second else 'h'}", head, 16 if second else 40)
        (bits,) = struct.unpack_from(f"{order}h", head, 14 if second else 72)
        (offset,) = struct.unpack_from(f"{order}{'q' if second else 'f'}", head, 168 if second else 108)
        shape = tuple(sides[:count])
        if not 1 <= count <= 7 or min(shape) < 1 or not 1 <= bits <= 8 * _WIDEST_VALUE or not math.isfinite(offset):
            break
        return shape, bits, int(offset)
    raise Refused(422, "a damaged NIfTI header")


def _unpack_nifti(path: Path, most_pixels: int) -> None:
    """Replaces a gzipped NIfTI file by what it holds, as far as its header says and not further."""
    unpacked = path.with_name(f"{path.name}-unpacked")
    try:
        with gzip.open(path, "rb") as stream:
            head = stream.read(_HEAD)
            if not _is_nifti(head):
                raise Refused(415, f"a gzip archive without NIfTI, none of {_KINDS}")
            shape, bits, offset = _read_nifti_head(head)
            require_pixels(math.prod(shape), most_pixels)
            if not 0 <= offset <= _MOST_BEFORE_VALUES:
                raise Refused(415, f"NIfTI with {offset:,} bytes before its values")
            # Values may be of fewer bits than bytes.
            left = max(offset, 352) + math.prod(shape) * -(-bits // 8) - len(head)
            with open(unpacked, "wb") as into:
                into.write(head)
                _copy(stream, into, left)
    except (OSError, EOFError, zlib.error, struct.error):
        raise Refused(422, "truncated or damaged") from None
    unpacked.replace(path)


def _copy(stream: BinaryIO | gzip.GzipFile, into: BinaryIO, count: int) -> None:
    while count > 0 and (piece := stream.read(min(count, 2**20))):
        into.write(piece)
        count -= len(piece)
