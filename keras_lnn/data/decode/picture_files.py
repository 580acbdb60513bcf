"""Pictures: PNG files of the usual kinds decoded in half the time that Pillow takes, all others by Pillow."""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from keras_lnn.data.decode.file_values import FileFacts, choose_frame
from keras_lnn.errors import InputError

# Further pictures in photographs are thumbnails or stereo views.
_OF_ONE_PAGE = ("JPEG", "MPO")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">8sI4sIIBBBBBI")
_CHUNK = struct.Struct(">I4s")
_GREY, _COLOUR = 0, 2
_KINDS = {(8, _GREY), (16, _GREY), (8, _COLOUR)}
# Files with chunks that change how the pixels are displayed are left to Pillow, which supports all of them.
_TRANSPARENCY, _ORIENTATION = b"tRNS", b"eXIf"

if TYPE_CHECKING:
    from PIL import Image


def read_plain_png(source: str | os.PathLike | bytes, most_pixels: int | None) -> np.ndarray | None:
    """Reads a plain PNG file: grey (8 or 16 bits) or RGB (8 bits), without chunks that change how it is displayed.

    Args:
        source: A path, or the bytes of an image file.
        most_pixels: Number of pixels above which an image is not read.

    Returns:
        uint8 or uint16, (height, width) or (height, width, 3); None if the file is of another kind or damaged, so that
        Pillow reads it or reports the fault.
    """
    try:
        content = source if isinstance(source, bytes) else _read_if_png(source)
    except OSError:
        return None
    if len(content) < _HEADER.size:
        return None
    signature, _, kind, width, height, depth, colours, _, _, interlaced, checksum = _HEADER.unpack_from(content)
    if (signature, kind, interlaced) != (_SIGNATURE, b"IHDR", 0) or (depth, colours) not in _KINDS:
        return None
    if zlib.crc32(content[12 : _HEADER.size - 4]) != checksum:  # before memory is allocated for the pixels
        return None
    if (most_pixels is not None and width * height > most_pixels) or not _is_plain(content):
        return None
    from kornia_rs import io

    decode = io.decode_image_png_u8 if depth == 8 else io.decode_image_png_u16
    try:
        pixels = decode(content, (height, width), "mono" if colours == _GREY else "rgb")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic in Rust is not an Exception
        return None
    return pixels[..., 0] if colours == _GREY else pixels


def _read_if_png(path: str | os.PathLike) -> bytes:
    with open(path, "rb", buffering=0) as stream:
        begin = stream.read(len(_SIGNATURE))
        return begin + stream.readall() if begin == _SIGNATURE else b""


def _is_plain(content: bytes) -> bool:
    """Returns whether all chunks are complete and none changes how the pixels are displayed."""
    place = len(_SIGNATURE)
    while place + _CHUNK.size <= len(content):
        length, kind = _CHUNK.unpack_from(content, place)
        if kind in (_TRANSPARENCY, _ORIENTATION):
            return False
        place += length + 12  # besides the content: its length, its name and its checksum, of 4 bytes each
    return place == len(content)


def open_image(
    source: str | os.PathLike | bytes,
    longest: int,
    channels: int,
    frame: str | None = None,
    facts: FileFacts | None = None,
) -> Image.Image:
    """Returns the decoded image, upright.

    Args:
        source: A path, or the bytes of a file.
        longest: Longest wanted side; a JPEG file may be read at a fraction of its size that is at least twice as large.
        channels: 1 (grey) or 3 (colour).
        frame: Which of several pages is read, see :func:`~keras_lnn.data.decode.file_values.choose_frame`.
        facts: Receives the number of pages.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            # Decodes at a fraction of the size that is still twice the wanted one (in either orientation, as that is
            # applied later): the result is as good, and several times as fast.
            image.draft("L" if channels == 1 else image.mode, (2 * longest, 2 * longest))
        pages = 1 if image.format in _OF_ONE_PAGE else getattr(image, "n_frames", 1)
        if facts is not None:
            facts.frames = pages
        index = choose_frame(frame, pages)
        if index is None:
            return _mean_of_pages(image, pages, channels)
        if index:
            image.seek(index)
        upright = ImageOps.exif_transpose(image)
        upright.load()
        return upright


def _mean_of_pages(image: Image.Image, pages: int, channels: int) -> Image.Image:
    from PIL import Image

    values = []
    for page in range(pages):
        image.seek(page)
        deep = image.mode.startswith("I;16")
        values.append(np.asarray(image if deep else with_channels(image, 1 if image.mode == "L" else channels)))
    if len({page.shape for page in values}) > 1:
        raise InputError("pages of different sizes, which cannot be averaged")
    return Image.fromarray(np.rint(np.mean(values, axis=0)).astype(values[0].dtype))


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Converts an image to grey or RGB, with transparency on black."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise InputError("32 bits per pixel, not 8 or 16")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    # A grey image gets its three channels after it is resized.
    return image if image.mode == "L" else image.convert("L" if channels == 1 else "RGB")


def fitted_size(size: tuple[int, int], wanted: tuple[int, int], fit: str) -> tuple[int, int]:
    """Returns width and height of an image fitted into the wanted size: all of it, or with its proportions."""
    if fit != "pad":
        return wanted
    scale = min(wanted[0] / size[0], wanted[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
