"""Own series through a model of series: tables, folders and files, read as training reads them; faults in one line."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick_predictors import Brightness, LastTime

from keras_lnn.cli.own_series_options import read_own_options
from keras_lnn.cli.predict import PredictCommand
from keras_lnn.data import load_data
from keras_lnn.data.arrays import SeriesArray
from keras_lnn.data.options import OwnImages
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.saved.image_files import check_headers, find_inputs
from keras_lnn.saved.image_predictions import predict_files
from keras_lnn.trained.samples import LearnedData

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from dicom_samples import write_dicom
from series_samples import HEADER, list_rows, write_series
from table_samples import write_table

SHAPE = (4, 8, 8, 1)
SERIES = 6


def make_predictor(**changes):
    return LastTime(**{"image_shape": SHAPE, "size": 8, "median_interval": None} | changes)


def predict(path, *paths, **options):
    """The table of predictions, and the warnings."""
    warned = []
    changes = options.pop("model", {})
    skip_bad = options.pop("skip_bad", False)
    predictor = make_predictor(**changes)
    given = OwnImages(**options)
    table = predict_files(predictor, [path, *paths], own=given, skip_bad=skip_bad, warn=warned.append)
    return table.set_index("file"), warned


def load_whole(name, reading):
    """The series that evaluate measures a model on."""
    part = load_data(name, reading, plan="whole").splits["all"]
    assert isinstance(part.images, SeriesArray)
    return part, part.images


def drop_labels(table, header=HEADER[:3], change=None):
    rows = [row[: len(header)] for row in list_rows(SERIES)]
    if change is not None:
        change(rows)
    return write_table(table.parent / "new.csv", header, rows)


def test_a_table_is_read_as_evaluate_reads_it_and_needs_no_labels(tmp_path):
    table = write_series(tmp_path, list_rows(SERIES))
    predictor, done = make_predictor(time_unit="seconds"), []
    found = predict_files(predictor, [drop_labels(table)], done.append).set_index("file")
    (read,) = predictor.read
    name = f"series:{table}"
    reading = LearnedData(predictor.signature, None, None).reading(name, DataOptions())
    measured, images = load_whole(name, reading)
    order = [found.index.get_loc(each) for each in measured.names]
    np.testing.assert_array_equal(read[order], images[:])
    np.testing.assert_array_equal(read.times(order), images.times())
    assert done[-1] == 1
    assert found.loc["s1", ["frames", "first time (seconds)", "last time (seconds)"]].tolist() == [4, 0, 270]
    assert found.columns.tolist()[0] == "predicted"


def test_numbers_keep_their_start_and_dates_count_from_the_first_image(tmp_path):
    def shift(rows):
        for row in rows:
            row[2] = f"{float(row[2]) + 7}"

    found, warned = predict(drop_labels(write_series(tmp_path, list_rows(SERIES)), change=shift))
    assert found.loc["s0", ["first time (minutes)", "last time (minutes)"]].tolist() == [7, 10]
    assert any("2 of 6 series have more than 4 images" in text and "--max-steps" not in text for text in warned)

    def date(rows):
        for row in rows:
            row[2] = f"2024-03-0{1 + int(float(row[2]) / 1.5)}"

    dated = drop_labels(tmp_path / "series.csv", ("patient", "file", "date"), date)
    found, _ = predict(dated, model={"time_unit": "days"})
    assert found.loc["s1", ["first time (days)", "last time (days)"]].tolist() == [0, 3]


def test_numbers_without_a_unit_have_that_of_the_model_and_it_is_said(tmp_path):
    table = drop_labels(write_series(tmp_path, list_rows(SERIES)), ("who", "file", "when"))
    roles = {"series_column": "who", "time_column": "when"}
    found, warned = predict(table, **roles)
    assert found["last time (minutes)"]["s0"] == 3
    assert any("column when were read as minutes, the unit that the model has learned" in text for text in warned)
    found, warned = predict(table, **roles, time_unit="hours")
    assert found["last time (minutes)"]["s0"] == 180
    assert not any("were read as" in text for text in warned)
    # The columns of the model's own table are known.
    found, _ = predict(table, model={"own": OwnImages(**roles)})
    assert len(found) == SERIES


def test_evaluate_converts_times_whose_unit_is_given_to_that_of_the_model(tmp_path):
    table = write_series(tmp_path, list_rows(SERIES), ("series", "file", "time", "label", "patient"))
    signature = make_predictor(time_unit="seconds").signature
    reading = LearnedData(signature, None, None).reading(f"series:{table}", DataOptions(time_unit="minutes"))
    _, images = load_whole(f"series:{table}", reading)
    assert (images.unit, images.times(0)[:3].tolist()) == ("seconds", [0, 90, 180])


def test_what_is_odd_is_said_and_bad_images_are_skipped_on_request(tmp_path):
    def spoil(rows):
        rows[1][2] = ""
        rows[3 + 1][2] = "0"
        del rows[8:12]

    table = drop_labels(write_series(tmp_path, list_rows(SERIES)), change=spoil)
    (tmp_path / "4_0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 of 18 that cannot be read: \S*4_0\.png \(not an image\).*--skip-bad"):
        predict(table)
    with pytest.raises(InputError, match=r"4_0\.png \(not an image\)"):
        signature = make_predictor().signature
        check_headers(find_inputs([table], signature), signature, skip_bad=False)
    found, warned = predict(table, skip_bad=True)
    assert found.loc["s4", ["frames", "first time (minutes)", "last time (minutes)"]].tolist() == [3, 1.5, 4.5]
    for words in ("images without a time", "several images at one time: s1", "one image only: s2", "4_0.png (not an"):
        assert any(words in text for text in warned), words


def ramp(frames):
    return np.broadcast_to(np.arange(frames, dtype=np.uint16)[:, None, None] * 10, (frames, 8, 8)).copy()


def test_cines_and_folders_of_dicom_images_are_series(tmp_path):
    pytest.importorskip("pydicom")
    cine = write_dicom(tmp_path / "cine.dcm", ramp(6), FrameTime="500")
    for study in "ab":
        (tmp_path / "studies" / study).mkdir(parents=True)
        for k in range(3):
            when = {"ContentDate": "20240131", "ContentTime": f"10{k * 4:02}00"}
            write_dicom(tmp_path / "studies" / study / f"{k}.dcm", ramp(3)[k], **when)
    found, warned = predict(cine, tmp_path / "studies", model={"time_unit": "seconds"})
    assert found.index.tolist() == [str(cine), *(str(tmp_path / "studies" / study) for study in "ab")]
    assert found["frames"].tolist() == [4, 3, 3]
    assert found["last time (seconds)"].tolist() == [2.5, 480, 480]
    assert any("1 of 3 series have more than 4 images" in text for text in warned)
    one = tmp_path / "studies" / "a"
    # The folder of one series, and the same files from a pattern of the shell.
    for paths in ([one], sorted(one.iterdir())):
        found, _ = predict(*paths, model={"time_unit": "minutes"})
        assert (found.index.tolist(), found["last time (minutes)"].tolist()) == ([str(one)], [8])
    found, warned = predict(one / "0.dcm")
    assert found["frames"].tolist() == [1]
    assert warned == [f"1 series has one image only: {one}"]


def test_a_nifti_file_of_four_dimensions_is_a_series(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for unit in ("sec", "unknown"):
        image = nibabel.Nifti1Image(np.moveaxis(ramp(3), 0, -1)[:, :, None].astype(np.int16), np.eye(4))
        image.header.set_zooms((1, 1, 1, 30.0))
        image.header.set_xyzt_units("mm", unit)
        nibabel.save(image, tmp_path / f"{unit}.nii.gz")
    found, _ = predict(tmp_path / "sec.nii.gz")
    assert found["last time (minutes)"].tolist() == [1]
    with pytest.raises(InputError, match="times in the unit unknown; name it with --time-unit"):
        predict(tmp_path / "unknown.nii.gz")
    found, _ = predict(tmp_path / "unknown.nii.gz", time_unit="seconds")
    assert found["last time (minutes)"].tolist() == [1]


@pytest.mark.parametrize(
    ("header", "change", "message"),
    [
        (("series", "file", "x"), None, "A table of series must have a column of times"),
        (("x", "file", "time_minutes"), None, "must have a column that names the series.*--series-column"),
        (("series", "x", "time_minutes"), None, "must have a file column"),
        (HEADER[:3], lambda rows: rows[1].__setitem__(2, "soon"), r"Every time must be a number.*soon \(line 3\)"),
        (HEADER[:3], lambda rows: rows[1].__setitem__(1, "gone.png"), r"gone\.png \(missing\)"),
    ],
)
def test_bad_tables_are_one_line_before_the_model_is_loaded(tmp_path, header, change, message):
    signature = make_predictor().signature
    with pytest.raises(InputError, match=message) as caught:
        check_headers(
            find_inputs([drop_labels(write_series(tmp_path, list_rows(SERIES)), header, change)], signature),
            signature,
            False,
        )
    assert "\n" not in str(caught.value)


def test_pictures_in_folders_and_models_without_a_unit_of_time_need_another_form(tmp_path):
    write_series(tmp_path, list_rows(SERIES))
    with pytest.raises(InputError, match=r"\.png files, whose names are no times: .*columns series, file and time"):
        predict(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without any image"):
        predict(tmp_path / "empty")
    with pytest.raises(InputError, match=r"with times in beats\. Save the series as \.npz"):
        predict(tmp_path, model={"time_unit": "beats"})


def test_a_model_of_images_offers_series_for_a_cine_and_refuses_their_tables(tmp_path):
    pydicom_data = pytest.importorskip("pydicom.data")
    cine = Path(pydicom_data.get_testdata_file("SC_rgb_rle_2frame.dcm", download=False))
    model, warned = Brightness("dark", "bright"), []
    table = predict_files(model, [cine], warn=warned.append)
    assert len(table) == 1
    assert warned == [
        "1 of 1 file has several frames (2), of which the first one is read; a model of series, such as lnn-series,"
        " reads all of them with their times"
    ]
    with pytest.raises(InputError, match=r"2 frames without times.*Write a table"):
        predict(cine)
    with pytest.raises(InputError, match=r"series\.csv \(no image, but a table or an archive, which only models of"):
        check_headers([write_series(tmp_path, list_rows(SERIES))], model.signature, skip_bad=False)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="--time-column is for models of series"):
        read_own_options(PredictCommand(model="cnn", images=[tmp_path], time_column="t"), "cnn", model.signature)
