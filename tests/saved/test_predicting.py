"""Predicting image files: bad ones reported or skipped, dark ones reported, and the output on the terminal."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from quick_predictors import Brightness, BrightPixels, LastTime, make_signature

from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.options import OwnImages
from keras_lnn.errors import InputError
from keras_lnn.saved.image_files import FileReader, check_headers, find_files
from keras_lnn.saved.image_predictions import (
    predict_files,
    require_free_table,
    shorten_predictions,
    write_predictions,
)
from keras_lnn.saved.mask_predictions import predict_masks
from keras_lnn.saved.series_predictions import predict_series

DARK_AND_BRIGHT = Brightness("dark", "bright")


def save(path, values):
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def files(tmp_path):
    """Two images, one file that is not an image and one that is cut off after its header."""
    good = [save(tmp_path / f"{number}.png", np.full((16, 16), 200 * number, np.uint8)) for number in range(2)]
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)
    (tmp_path / "none.png").write_bytes(b"none")
    cut = save(tmp_path / "z.png", noise)
    cut.write_bytes(cut.read_bytes()[:2000])
    return [good[0], tmp_path / "none.png", cut, good[1]]


def test_headers_are_checked_before_anything_is_read(files):
    signature = DARK_AND_BRIGHT.signature
    with pytest.raises(InputError, match=r"1 of 4 that cannot be read: .*none\.png \(not an image\).*--skip-bad"):
        check_headers(files, signature, skip_bad=False)
    check_headers(files, signature, skip_bad=True)
    with pytest.raises(InputError, match="1 of 1"):
        check_headers(files[1:2], signature, skip_bad=True)


def test_bad_files_stop_prediction_or_are_skipped(files):
    with pytest.raises(InputError, match=r"2 of 4 that cannot be read: .*none\.png \(.*z\.png \(truncated\)"):
        predict_files(DARK_AND_BRIGHT, files)
    reported = []
    table = predict_files(DARK_AND_BRIGHT, files, skip_bad=True, warn=reported.append)
    assert table["file"].tolist() == [str(files[0]), str(files[3])]
    assert table["predicted"].tolist() == ["dark", "bright"]
    assert len(reported) == 1
    assert reported[0].startswith("left out 2 of 4 files: ")
    with pytest.raises(InputError, match="2 of 2"):
        predict_files(DARK_AND_BRIGHT, files[1:3], skip_bad=True)


def test_likeness_is_a_column_for_images_masks_and_series(files, tmp_path):
    def compare(images):
        return images[:].reshape(len(images), -1).mean(axis=1) / 255

    options = {"skip_bad": True, "compare": compare}
    table = predict_files(DARK_AND_BRIGHT, files, **options)
    assert list(table)[:3] == ["file", "predicted", "likeness"]
    assert table["likeness"].tolist() == [0, 200 / 255]
    write_predictions(table, tmp_path / "answers.csv")
    assert require_free_table(tmp_path / "answers.csv")  # as an earlier table of predictions
    many = shorten_predictions(predict_files(Brightness(*"abcde"), files, **options))
    assert list(many) == ["file", "predicted", "likeness", "3 of 5 probabilities"]
    masks = predict_masks(BrightPixels(), files, tmp_path / "out", **options)
    assert masks["likeness"].tolist() == [0, 200 / 255]
    series = SeriesArray.join([np.full((2, 5, 5, 1), 51, np.uint8)], [[0, 1]], "minutes")
    assert predict_series(LastTime(), series, ["a"], compare=compare)["likeness"].tolist() == [0.2]


def test_masks_are_written_for_readable_files(files, tmp_path):
    reported = []
    table = predict_masks(BrightPixels(), files, tmp_path / "out", skip_bad=True, warn=reported.append)
    assert table["file"].tolist() == [str(files[0]), str(files[3])]
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"0.png", "1.png"}
    assert len(reported) == 1


def test_12_bit_images_without_a_window_are_reported(tmp_path):
    path = save(tmp_path / "a.png", np.linspace(0, 4095, 256).reshape(16, 16).astype(np.uint16))
    reported = []
    predict_files(DARK_AND_BRIGHT, [path], warn=reported.append)
    assert [text.partition(",")[0] for text in reported] == ["the brightest value of all 16-bit files is 4095"]
    windowed = make_signature(own=OwnImages(window=(2048.0, 4096.0)))
    bright = save(tmp_path / "b.png", np.full((16, 16), 40_000, np.uint16))
    for file, signature in ((path, windowed), (bright, DARK_AND_BRIGHT.signature)):
        list(FileReader([file], signature, False, reported.append).read())
    assert len(reported) == 1


VOLUME = make_signature(model="cnn3d", image_shape=(4, 4, 4, 1), size=4)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4, 4, 1)])
def test_volumes_of_either_order_are_read(tmp_path, shape, order):
    values = np.arange(64, dtype=np.uint8).reshape(shape)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    ((images, files),) = FileReader([tmp_path / "a.npy"], VOLUME, False, None).read()
    assert np.array_equal(images[0], values.reshape(4, 4, 4, 1))
    assert files == [tmp_path / "a.npy"]


def test_a_volume_shorter_than_its_header_states_is_a_fault(tmp_path):
    for name, shape, kept in (("a.npy", (4, 4, 4), 100), ("b.npy", (10**6, 10**6), None), ("c.npy", (4, 4), None)):
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with open(tmp_path / name, "wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            stream.write(bytes((kept and kept - 80) or 9))
    files = find_files([tmp_path], volumes=True)
    with pytest.raises(InputError, match=r"a\.npy \(truncated\), .*b\.npy \(uint8 of \(1000000, 1000000\), where"):
        list(FileReader(files, VOLUME, False, None).read())
    with pytest.raises(InputError, match="2 of 3"):
        check_headers(files, VOLUME, skip_bad=False)


def test_the_terminal_shows_three_of_many_classes(tmp_path):
    path = save(tmp_path / "a.png", np.full((16, 16), 250, np.uint8))
    few = predict_files(DARK_AND_BRIGHT, [path])
    assert shorten_predictions(few) is few
    many = predict_files(Brightness(*"abcde"), [path])
    shown = shorten_predictions(many)
    assert list(shown) == ["file", "predicted", "3 of 5 probabilities"]
    likeliest = shown.iloc[0, 2].split(", ")
    assert [text.split()[0] for text in likeliest] == ["e", "d", "c"]
    assert float(likeliest[0].split()[1]) == pytest.approx(many["probability e"][0], abs=1e-4)
    assert isinstance(shown, pd.DataFrame)
