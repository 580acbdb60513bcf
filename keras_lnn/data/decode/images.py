"""Image files decoded in parallel into one array."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from keras_lnn.data.decode import medical_files, picture_files
from keras_lnn.data.decode.faults import Decoded, ImageSource, describe_faults, is_obstacle, name_fault
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.decode.file_values import FileFacts, apply_window
from keras_lnn.data.decode.mask_pixels import read_mask
from keras_lnn.data.decode.picture_files import fitted_size, open_image, with_channels
from keras_lnn.data.options import FITS, Rendering
from keras_lnn.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

# Version of the decoding; decoded files in the cache are only reused for the same version.
DECODING = 3
Progress = Callable[[float], None]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_CHUNK = 16
_FILES_AT_ONCE = 1024
_AS_IT_IS = Rendering()


def guess_channels(paths: Sequence[str | os.PathLike]) -> int:
    """Returns 1 if all image files are grey by their headers, else 3.

    A colour file whose pixels happen to be grey counts as colour. Files that cannot be opened are ignored, since
    ``read_images`` reports them.
    """
    with quiet_decoders(), ThreadPoolExecutor(worker_count()) as pool:
        for start in range(0, len(paths), _FILES_AT_ONCE):
            if not all(pool.map(_has_grey_header, paths[start : start + _FILES_AT_ONCE])):
                return 3
    return 1


def read_image(
    source: ImageSource, *, side: int | tuple[int, int], channels: int, rendering: Rendering = _AS_IT_IS
) -> np.ndarray:
    """Decodes one image and resizes it, bilinearly with antialiasing.

    Without a window 16-bit pixels are divided by 257, which maps the whole range 0-65535 to 0-255: for 12-bit values
    stored in 16 bits give the window 2048,4096. Transparent pixels are laid on black, the background of most medical
    images. The orientation in the EXIF data is applied. The rendering sets which of several frames, pages or times is
    read. DICOM and NIfTI files are read if their packages are installed.

    Args:
        source: A path, or the bytes of an image file.
        side: Height and width of the result, or one number for both.
        channels: 1 (grey) or 3 (red, green, blue).
        rendering: Whether the aspect ratio is kept, and which values are displayed.

    Returns:
        uint8, (height, width, channels).

    Raises:
        InputError: The file is missing, damaged or of an unknown kind.
    """
    return read_images([source], side=side, channels=channels, rendering=rendering)[0]


def read_images(
    sources: Sequence[ImageSource],
    *,
    side: int | tuple[int, int],
    channels: int,
    progress: Progress | None = None,
    into: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    rendering: Rendering = _AS_IT_IS,
) -> np.ndarray:
    """Decodes images in a pool of threads into one array; see ``read_image`` for the processing of each.

    Args:
        sources: Paths, or the bytes of image files.
        side: Height and width of the result, or one number for both.
        channels: 1 (grey) or 3 (red, green, blue).
        progress: Called in the thread of the caller with the fraction that is done.
        into: The array to fill, uint8 (images, height, width, channels); None for a new one.
        names: Names of the sources for messages; None for their paths.
        rendering: Whether the aspect ratio is kept, and which values are displayed.

    Returns:
        uint8, (images, height, width, channels).

    Raises:
        InputError: Some images cannot be read; the message lists them together.
    """
    shape = (len(sources), *image_shape(side, channels))
    images = np.empty(shape, np.uint8) if into is None else into
    if images.shape != shape:
        raise ValueError(f"into must have the shape {shape}. Received: {images.shape}.")
    found = decode_images(sources, images, rendering, progress)
    if found.faults:
        raise InputError(describe_faults(found.faults, sources if names is None else names))
    return images


def decode_images(
    sources: Sequence[ImageSource],
    into: np.ndarray,
    rendering: Rendering,
    progress: Progress | None = None,
    *,
    workers: int | None = None,
) -> Decoded:
    """Decodes images, or volumes if ``into`` has five axes, in a pool of threads; files with faults are recorded.

    Args:
        sources: Paths, or the bytes of image files.
        into: The array to fill, uint8; the row of a fault is left unchanged.
        rendering: Whether the aspect ratio is kept, and which values are displayed.
        progress: Called in the thread of the caller with the fraction that is done.
        workers: Number of threads; chosen for the machine if not given.

    Returns:
        The faults, and other findings of decoding.
    """
    if rendering.fit not in FITS:
        raise InputError(f"fit must be stretch or pad. Received: {rendering.fit}. Choose one of them.")
    faults: dict[int, str] = {}
    brightest: list[int] = []
    obstacles: list[int] = []
    digests: dict[int, str] = {}
    frames: dict[int, int] = {}

    def read_chunk(start: int) -> int:
        stop = min(start + _CHUNK, len(sources))
        for row in range(start, stop):
            facts = FileFacts()
            try:
                into[row] = _decode(sources[row], into.shape[1:], rendering, facts)
                digests[row] = facts.digest
                brightest.extend([] if facts.brightest is None else [facts.brightest])
                # A frame that was asked for by its number is one image of a series.
                if facts.frames > 1 and getattr(sources[row], "index", None) is None:
                    frames[row] = facts.frames
            except Exception as error:  # errors of decoders for damaged files have no common class
                faults[row] = name_fault(error)
                obstacles.extend([row] if is_obstacle(error) else [])
        return stop

    pool = ThreadPoolExecutor(workers or worker_count())
    with quiet_decoders():
        try:
            for stop in pool.map(read_chunk, range(0, len(sources), _CHUNK)):
                if progress is not None:
                    progress(stop / len(sources))
        finally:
            pool.shutdown(cancel_futures=True)
    return Decoded(faults, max(brightest, default=None), sorted(obstacles), digests, frames)


def image_shape(side: int | tuple[int, int], channels: int) -> tuple[int, int, int]:
    """Returns the shape (height, width, channels) for a side and a number of channels."""
    height, width = (side, side) if isinstance(side, int | np.integer) else side
    if min(height, width) < 1:
        raise InputError(f"The side of an image must be at least 1 pixel. Received: {side}. Ask for more pixels.")
    if channels not in (1, 3):
        raise InputError(f"An image must have 1 or 3 channels. Received: {channels}. Choose 1 (grey) or 3 (colour).")
    return int(height), int(width), int(channels)


def worker_count() -> int:
    """Returns the number of threads that keep this machine busy with decoding."""
    # Slightly more than the processors, since a thread sometimes waits for the disk or for Python's lock.
    return min(32, (os.cpu_count() or 1) + 2)


@contextlib.contextmanager
def quiet_decoders() -> Generator[None]:
    """Suppresses decoders' warnings about odd but readable files; entered once around a pool, as filters are global."""
    # nibabel also logs the errors that it raises.
    logger = logging.getLogger("nibabel.global")
    level = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(PIL|pydicom|nibabel)\.")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def map_files(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Returns the results of a function that reads files or their headers, in several threads."""
    found: list[_Result] = []
    with quiet_decoders(), ThreadPoolExecutor(worker_count()) as pool:
        # A pool keeps an object of 2 KB for each file that waits.
        for start in range(0, len(items), _FILES_AT_ONCE):
            found.extend(pool.map(function, items[start : start + _FILES_AT_ONCE]))
    return found


def _has_grey_header(path: str | os.PathLike) -> bool:
    from PIL import Image

    try:
        if medical_files.is_medical(path):
            return medical_files.is_grey(path)
        with Image.open(path) as image:
            if image.mode == "P":
                colours = np.reshape(image.getpalette("RGB") or [], (-1, 3))
                return bool((colours == colours[:, :1]).all())
            return image.mode[0] in "1LIF" and image.mode != "LAB"
    except Exception:  # reported by read_images
        return True


def _decode(source: ImageSource, shape: tuple[int, ...], rendering: Rendering, facts: FileFacts) -> np.ndarray:
    from PIL import Image

    if isinstance(source, FileFrame):
        source, rendering = source.path, source.choose(rendering)
    if rendering.classes is not None:
        return read_mask(source, shape, rendering)
    if len(shape) == 4:
        return medical_files.read_volume(source, shape, rendering, facts)
    height, width, channels = shape
    if medical_files.is_medical(source):
        pixels = Image.fromarray(medical_files.read_slice(source, rendering.window, rendering.frame, facts))
        return _to_size(with_channels(pixels, channels), shape, rendering.fit)
    plain = picture_files.read_plain_png(source, Image.MAX_IMAGE_PIXELS)
    image = (
        open_image(source, max(height, width), channels, rendering.frame, facts)
        if plain is None
        else Image.fromarray(plain)
    )
    # Older versions of Pillow open 16-bit PNG files in 32-bit mode.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        values = np.asarray(image)
        facts.note(values)
        facts.brightest = int(values.max())
        return _to_size(Image.fromarray(_to_8_bits(values, rendering.window)), shape, rendering.fit)
    image = with_channels(image, channels)
    facts.note(np.asarray(image))
    return _to_size(image, shape, rendering.fit)


def _to_8_bits(values: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    return np.take(_table_of_8_bits(window), values)


@functools.lru_cache(maxsize=4)
def _table_of_8_bits(window: tuple[float, float] | None) -> np.ndarray:
    """Returns the 8-bit value of each 16-bit value; a lookup is several times as fast as the computation."""
    values = np.arange(2**16)
    if window is not None:
        return apply_window(values, *window)
    return ((values + 128) // 257).astype(np.uint8)


def _to_size(image: Image.Image, shape: tuple[int, ...], fit: str) -> np.ndarray:
    from PIL import Image

    height, width, channels = shape
    size = fitted_size(image.size, (width, height), fit)
    if image.size != size:
        # Images more than twice too large are first reduced by an integer factor, by averaging whole pixels.
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    image = image.convert("L" if channels == 1 else "RGB")
    if size != (width, height):
        canvas = Image.new(image.mode, (width, height))
        canvas.paste(image, ((width - size[0]) // 2, (height - size[1]) // 2))
        image = canvas
    return np.asarray(image).reshape(height, width, channels)
