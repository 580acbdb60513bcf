import errno
import os
import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_lnn.data.decode import images as images_module
from keras_lnn.data.decode.image_finding import find_images
from keras_lnn.data.decode.images import guess_channels, map_files, read_image, read_images
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.folders import load_folder
from keras_lnn.data.sources.tables import load_table
from keras_lnn.errors import InputError
from keras_lnn.saved.image_files import find_files

GREY = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10) * 2
COLOUR = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def read(path, channels=1):
    return read_image(path, side=(12, 10), channels=channels)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "tiff", "PNG"])
def test_lossless_formats_are_read_exactly(tmp_path, suffix):
    path = save(tmp_path / f"scan.{suffix}", GREY)
    assert np.array_equal(read(path)[..., 0], GREY)
    assert np.array_equal(read(path, channels=3), np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff_files_are_read(tmp_path, compression):
    assert np.array_equal(read(save(tmp_path / "scan.tiff", COLOUR, compression=compression), channels=3), COLOUR)


def test_jpeg_pixels_are_close_to_the_original(tmp_path):
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    path = save(tmp_path / "scan.jpg", smooth, quality=95)
    decoded = read_image(path, side=64, channels=1)[..., 0]
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("size", [(40, 30), (200, 150)])
def test_jpeg_decoded_at_reduced_size_is_close_to_full_decoding(tmp_path, size):
    rows, columns = np.mgrid[0:800, 0:600]
    picture = (127 + 90 * np.sin(rows / 7) * np.cos(columns / 9)).astype(np.uint8)
    path = save(tmp_path / "scan.jpg", np.stack([picture, picture[::-1], picture], axis=-1), quality=95)
    with Image.open(path) as image:
        expected = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(read_image(path, side=size, channels=3) - expected).max() <= 4


def test_16_bits_are_divided_by_257(tmp_path):
    values = np.array([[0, 128, 129, 257], [32896, 65535, 65406, 65407]], np.uint16)
    for suffix in ("png", "tif"):
        decoded = read_image(save(tmp_path / f"scan.{suffix}", values), side=(2, 4), channels=1)[..., 0]
        assert decoded.tolist() == np.round(values / 257).astype(int).tolist()
    assert guess_channels([tmp_path / "scan.png"]) == 1


def test_images_with_palettes_are_read(tmp_path):
    quantised = Image.fromarray(COLOUR).quantize(16)
    quantised.save(tmp_path / "colour.png")
    expected = np.asarray(quantised.convert("RGB"))
    assert np.array_equal(read(tmp_path / "colour.png", channels=3), expected)
    assert guess_channels([tmp_path / "colour.png"]) == 3

    grey = Image.fromarray(GREY // 2, mode=None).convert("P")
    grey.putpalette([level for level in range(255, -1, -1) for _ in range(3)])
    grey.save(tmp_path / "grey.png")
    assert np.array_equal(read(tmp_path / "grey.png")[..., 0], 255 - GREY // 2)
    assert guess_channels([tmp_path / "grey.png"]) == 1


def test_transparent_pixels_are_blended_with_black(tmp_path):
    alpha = np.full((12, 10, 1), 255, np.uint8)
    alpha[:3], alpha[3:6] = 0, 128
    path = save(tmp_path / "scan.png", np.concatenate([COLOUR, alpha], axis=2))
    decoded = read(path, channels=3)
    assert not decoded[:3].any()
    assert np.abs(decoded[3:6].astype(int) - COLOUR[3:6] * (128 / 255)).max() <= 1
    assert np.array_equal(decoded[6:], COLOUR[6:])
    grey = save(tmp_path / "grey.png", np.concatenate([GREY[..., None], alpha], axis=2))
    assert np.array_equal(read(grey)[6:, :, 0], GREY[6:])
    assert guess_channels([grey]) == 1
    assert guess_channels([path]) == 3


def test_one_bit_and_cmyk_images_are_read(tmp_path):
    save(tmp_path / "mask.png", GREY > 100)
    assert np.array_equal(read(tmp_path / "mask.png")[..., 0], np.where(GREY > 100, 255, 0))
    Image.new("CMYK", (10, 12), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red = read(tmp_path / "print.jpg", channels=3)[5, 5]
    assert red[0] > 240
    assert red[1:].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    turned = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: np.rot90(GREY, 2).T,
        8: np.rot90(GREY),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "photo.png", GREY, exif=exif)
    assert np.array_equal(read_image(path, side=turned.shape, channels=1)[..., 0], turned)


def test_exif_orientation_of_a_large_jpeg(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 400).astype(np.uint8)[None], 900, axis=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "photo.jpg", ramp, exif=exif)
    expected = np.linspace(0, 255, 400)[20::40, None]  # the ramp runs downwards once the photo is turned
    assert np.abs(read_image(path, side=(10, 20), channels=1)[..., 0] - expected).max() <= 4


def test_resizing_is_antialiased_and_keeps_the_mean(tmp_path):
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    path = save(tmp_path / "scan.png", checks.astype(np.uint8))
    small = read_image(path, side=8, channels=1)
    assert small.shape == (8, 8, 1)
    assert np.abs(small.astype(int) - 127.5).max() <= 3
    assert read_image(path, side=(3, 7), channels=3).shape == (3, 7, 3)


def test_images_are_read_from_bytes_as_from_files(tmp_path):
    path = save(tmp_path / "scan.png", COLOUR)
    assert np.array_equal(read(path.read_bytes(), channels=3), COLOUR)


def test_many_images_keep_their_order_and_report_progress(tmp_path):
    paths = [save(tmp_path / f"{k:03}.png", np.full((4, 4), k, np.uint8)) for k in range(50)]
    fractions = []
    decoded = read_images(paths[::-1], side=2, channels=1, progress=fractions.append)
    assert decoded.shape == (50, 2, 2, 1)
    assert decoded[:, 0, 0, 0].tolist() == list(range(49, -1, -1))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    target = np.zeros((50, 2, 2, 1), np.uint8)
    assert read_images(paths, side=2, channels=1, into=target) is target
    assert target[7, 0, 0, 0] == 7
    assert read_images([], side=2, channels=1).shape == (0, 2, 2, 1)


def test_an_interruption_stops_the_decoding(tmp_path, monkeypatch):
    first, later = (save(tmp_path / name, COLOUR).read_bytes() for name in ("first.png", "later.png"))
    decoded = []
    interrupted = threading.Event()
    decode = images_module._decode

    def slow_decode(source, *arguments):
        # The later ones wait for the interruption, and each takes a while, in which the others can be called off.
        decoded.append(1)
        if source is later:
            interrupted.wait(600)
            time.sleep(0.01)
        return decode(source, *arguments)

    monkeypatch.setattr(images_module, "_decode", slow_decode)

    def interrupt(fraction):
        interrupted.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_images([first] * images_module._CHUNK + [later] * 3000, side=2, channels=1, progress=interrupt)
    assert len(decoded) < 1500


def test_all_unreadable_files_are_named_in_one_line(tmp_path):
    good = save(tmp_path / "good.png", COLOUR)
    picture = np.random.default_rng(1).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    content = {suffix: save(tmp_path / f"whole.{suffix}", picture).read_bytes() for suffix in ("png", "jpg", "tif")}
    bad = []
    for suffix, whole in content.items():
        bad.append(tmp_path / f"cut.{suffix}")
        bad[-1].write_bytes(whole[: len(whole) // 2])
    for name, text in {"empty.png": b"", "rubbish.jpg": b"\xff\xd8\xff rubbish", "page.png": b"<html></html>"}.items():
        bad.append(tmp_path / name)
        bad[-1].write_bytes(text)
    bad.append(tmp_path / "missing.png")
    with pytest.raises(InputError) as caught:
        read_images([good, *bad], side=8, channels=3)
    message = str(caught.value)
    assert "\n" not in message
    assert "Received: 7 of 8" in message
    assert all(str(path) in message for path in bad[:5])
    assert "and 2 more" in message
    assert str(good) not in message
    assert "cut.png (truncated)" in message
    assert "empty.png (not an image)" in message
    with pytest.raises(InputError, match=r"missing\.png \(missing\)"):
        read_images(bad[6:], side=8, channels=3)
    with pytest.raises(InputError, match=r"scan seven \(not an image\)"):
        read_images([b"rubbish"], side=8, channels=3, names=["scan seven"])


def test_a_damaged_byte_in_a_png_is_found(tmp_path):
    content = bytearray(save(tmp_path / "scan.png", COLOUR).read_bytes())
    content[content.index(b"IDAT") + 12] ^= 0xFF
    (tmp_path / "scan.png").write_bytes(content)
    with pytest.raises(InputError, match=r"scan\.png \((damaged|truncated)\)"):
        read(tmp_path / "scan.png")


def test_32_bits_are_refused_with_the_reason(tmp_path):
    path = save(tmp_path / "scan.tif", GREY.astype(np.float32))
    with pytest.raises(InputError, match=r"scan\.tif \(32 bits per pixel, not 8 or 16\)"):
        read(path)


def test_huge_images_are_read_up_to_a_limit(tmp_path, monkeypatch):
    path = save(tmp_path / "scan.png", GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(path).shape == (12, 10, 1)  # Pillow warns from here on
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(InputError, match=r"scan\.png \(more than 100 pixels\)"):
        read(path)


def test_pillow_warnings_are_silenced_without_changing_the_filters(tmp_path):
    # A palette with transparency in bytes makes Pillow warn on conversion.
    palette = Image.fromarray(COLOUR).quantize(4)
    palette.save(tmp_path / "scan.png", transparency=b"\x00\xff\x80\xff")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read(tmp_path / "scan.png", channels=1)
    assert not seen
    assert warnings.filters == before


def test_guess_channels_reads_only_headers(tmp_path):
    grey = save(tmp_path / "grey.jpg", GREY)
    colour = save(tmp_path / "colour.jpg", COLOUR)
    cut = tmp_path / "cut.png"
    cut.write_bytes(save(tmp_path / "whole.png", COLOUR).read_bytes()[:60])
    assert guess_channels([grey, tmp_path / "missing.png"]) == 1
    assert guess_channels([grey, colour]) == 3
    assert guess_channels([cut]) == 3


def test_find_images_lists_images_in_natural_order(tmp_path):
    for name in ("b/2.PNG", "b/10.jpeg", "a/deep/x.tif", "a.gif", "z.bmp", "notes.txt", "Thumbs.db", ".DS_Store"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "b" / "._2.png").touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "x.png").touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/deep/x.tif", "a.gif", "b/10.jpeg", "b/2.PNG", "z.bmp"]
    assert find_images(tmp_path / "a.gif") == [tmp_path / "a.gif"]
    assert find_images(tmp_path / "notes.txt") == []
    with pytest.raises(InputError, match="must exist"):
        find_images(tmp_path / "nowhere")


@pytest.mark.parametrize(("side", "channels"), [(0, 1), ((4, -1), 1), (4, 2)])
def test_invalid_sizes_and_channels_are_refused(side, channels):
    with pytest.raises(InputError, match="Received"):
        images_module.image_shape(side, channels)


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder in which a folder cannot be read, whoever runs the test."""
    for name in ("open", "shut"):
        (tmp_path / "set" / name).mkdir(parents=True)
        save(tmp_path / "set" / name / "a.png", np.zeros((4, 4), np.uint8))
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return tmp_path / "set"


def test_a_folder_that_cannot_be_read_is_named(locked):
    with pytest.raises(InputError, match=r"folder of images must be readable\. Received: .*shut \(permission denied\)"):
        find_images(locked)
    with pytest.raises(InputError, match=r"shut \(permission denied\)"):
        find_files([locked], volumes=True)
    unreadable = []
    assert find_images(locked, unreadable) == [locked / "open" / "a.png"]
    assert unreadable == [f"{locked / 'shut'} (permission denied)"]


def test_a_table_and_a_folder_report_folders_that_cannot_be_read(tmp_path, locked, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))
    for k in range(20):
        for name in ("benign", "malignant"):
            (locked / name).mkdir(exist_ok=True)
            save(locked / name / f"{k}.png", np.full((4, 4), k + 100 * (name == "benign"), np.uint8))
    (locked / "open" / "a.png").unlink()
    (locked / "open").rmdir()
    (locked / "shut").rename(locked / "benign" / "shut")
    with pytest.raises(InputError, match=r"shut \(permission denied\)\. Give permission .* --skip-bad"):
        load_folder(locked, Reading(size=4))
    warnings = load_folder(locked, Reading(own=OwnImages(skip_bad=True), size=4)).check.warnings
    assert warnings[0].startswith("left out folders that cannot be read: ")
    rows = [f"{name}/{k}.png,{name}" for k in range(20) for name in ("benign", "malignant")]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows]))
    warnings = load_table(tmp_path / "t.csv", Reading(own=OwnImages(image_dir=locked), size=4)).check.warnings
    assert warnings[0].startswith("folders in which no files could be looked for: ")


def test_reading_many_files_in_threads_needs_little_memory_for_each():
    count = 4000
    tracemalloc.start()
    try:
        assert map_files(abs, range(-count, 0)) == list(range(count, 0, -1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A pool alone keeps 1,500 bytes for each file that waits.
    assert peak / count < 800
