"""What Pillow reads, upright and in the channels that are asked for."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from keras_lnn.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


def open_image(source: str | os.PathLike | bytes, longest: int, channels: int) -> Image.Image:
    """The decoded image, upright; a JPEG file perhaps at a fraction of its size that is twice ``longest`` or more."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            # Decodes to a fraction of the size that is still twice the wanted one (either way round, as the
            # orientation comes later): as good, several times as fast.
            image.draft("L" if channels == 1 else image.mode, (2 * longest, 2 * longest))
        upright = ImageOps.exif_transpose(image)
        upright.load()
        return upright


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Grey or red, green and blue, with what is transparent laid on black."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise InputError("32 bits a pixel, not 8 or 16")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    # A grey image gets its three channels once it is small.
    return image if image.mode == "L" else image.convert("L" if channels == 1 else "RGB")


def fitted_size(size: tuple[int, int], wanted: tuple[int, int], fit: str) -> tuple[int, int]:
    """Width and height of an image within those that are wanted: all of them, or keeping its proportions."""
    if fit != "pad":
        return wanted
    scale = min(wanted[0] / size[0], wanted[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
