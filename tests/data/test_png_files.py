import struct
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from keras_lnn.data.decode.picture_files import read_plain_png

SHAPES_AND_TYPES = {"grey": ((), np.uint8), "grey, 16 bits": ((), np.uint16), "colour": ((3,), np.uint8)}


def make_pixels(kind, height, width, seed=0):
    channels, dtype = SHAPES_AND_TYPES[kind]
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, *channels), dtype=dtype)


def chunk(name, content):
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("png") / "image.PNG"


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(
    kind=st.sampled_from(sorted(SHAPES_AND_TYPES)),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    level=st.integers(0, 9),
    seed=st.integers(0, 9),
)
def test_common_png_types_are_read_exactly(file, kind, height, width, level, seed):
    pixels = make_pixels(kind, height, width, seed)
    Image.fromarray(pixels).save(file, compress_level=level)
    found = read_plain_png(file, None)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)


def test_png_files_with_metadata_are_left_to_pillow(tmp_path):
    file = tmp_path / "image.png"
    grey = Image.fromarray(make_pixels("grey", 8, 9))
    turned = Image.Exif()
    turned[0x0112] = 6
    for image, options in (
        (grey.convert("1"), {}),
        (grey.convert("P"), {}),
        (grey.convert("LA"), {}),
        (grey.convert("RGBA"), {}),
        (grey, {"transparency": 7}),
        (grey, {"exif": turned}),
    ):
        image.save(file, **options)
        assert read_plain_png(file, None) is None
    grey.save(file)
    assert read_plain_png(file, 72) is not None
    assert read_plain_png(file, 71) is None
    assert np.array_equal(read_plain_png(file.read_bytes(), None), np.asarray(grey))
    grey.save(tmp_path / "image.bmp")
    assert read_plain_png(tmp_path / "image.bmp", None) is None
    assert read_plain_png(tmp_path / "nowhere.png", None) is None


def test_an_interlaced_png_is_left_to_pillow(tmp_path):
    file = tmp_path / "image.png"
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x07")) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert np.asarray(Image.open(file)) == [[7]]
    assert read_plain_png(file, None) is None


def test_orientation_after_the_pixels_is_found(tmp_path):
    file = tmp_path / "image.png"
    Image.fromarray(make_pixels("grey", 4, 4)).save(file)
    content = file.read_bytes()
    assert read_plain_png(file, None) is not None
    file.write_bytes(content[:-12] + chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0") + content[-12:])
    assert read_plain_png(file, None) is None


@pytest.mark.parametrize("kind", SHAPES_AND_TYPES)
def test_damaged_png_files_never_give_wrong_pixels(tmp_path, kind):
    file = tmp_path / "image.png"
    pixels = make_pixels(kind, 5, 6)
    Image.fromarray(pixels).save(file)
    content = file.read_bytes()
    refused = 0
    for place in range(len(content)):
        file.write_bytes(content[:place])
        assert read_plain_png(file, None) is None
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        found = read_plain_png(file, None)
        assert found is None or np.array_equal(found, pixels)  # a byte after the pixels does no harm
        refused += found is None
    assert refused >= len(content) - 12
