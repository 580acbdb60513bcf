"""Series of own images: from tables with times and from files that know theirs, what is odd, and what is refused."""

import json
import re

import numpy as np
import pytest
from dicom_samples import write_dicom
from series_samples import HEADER, list_rows, load, times_of, write_series
from table_samples import warnings_of, write_classes, write_table

from keras_lnn.data import load_data
from keras_lnn.data.decode import decoding_pool
from keras_lnn.data.decode.decoding_pool import _from_json, _to_json
from keras_lnn.data.decode.file_frames import FileFrame
from keras_lnn.data.decode.frame_times import join_moments, read_frame_times, read_moments
from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SampleRecord
from keras_lnn.data.sources.folders import load_folder
from keras_lnn.data.sources.series_sorting import sort_series
from keras_lnn.data.sources.series_times import choose_unit, guess_unit, read_times
from keras_lnn.data.sources.tables import load_table
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.saved.signature import Signature
from keras_lnn.trained.samples import LearnedData


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def test_a_table_of_series_gives_padded_frames_with_their_times(tmp_path):
    data = load(write_series(tmp_path))
    assert (data.image_shape, data.series.unit, data.task) == ((5, 8, 8, 1), "minutes", "binary")
    assert sum(map(len, data.splits.values())) == 24
    for split in data.splits.values():
        for row, name in enumerate(split.names):
            number = int(name[1:])
            length = 3 + number % 3
            left = split.images[row][:, 0, 0, 0].tolist()
            assert left == [number * 5 + min(k, length - 1) for k in range(5)]
            assert split.labels[row] == number // 2 % 2
    assert times_of(data) == {f"s{n}": [1.5 * k for k in range(3 + n % 3)] for n in range(24)}
    assert warnings_of(data) == ()


def test_both_series_of_a_patient_are_in_one_split_and_a_series_without_a_patient_is_alone(tmp_path):
    def forget(rows):
        for row in rows:
            row[4] = "" if row[0] in ("s0", "s1") else row[4]

    data = load(write_series(tmp_path, change=forget))
    parts = {name: split for split, part in data.splits.items() for name in part.names}
    assert all(parts[f"s{n}"] == parts[f"s{n + 1}"] for n in range(2, 24, 2))
    groups = {name: group for part in data.splits.values() for name, group in zip(part.names, part.groups, strict=True)}
    assert (groups["s0"], groups["s1"], groups["s2"], groups["s3"]) == ("series s0", "series s1", "p1", "p1")


def digests_of(data):
    return {
        name: digest for part in data.splits.values() for name, digest in zip(part.names, part.digests, strict=True)
    }


def test_a_series_is_known_by_its_images_and_their_times_in_any_order(tmp_path, monkeypatch):
    first = load(write_series(tmp_path))
    shuffled = write_table(tmp_path / "other.csv", HEADER, list_rows()[::-1])
    monkeypatch.setattr(decoding_pool, "decode_images", None)  # all images are in the cache
    second = load(shuffled)
    assert digests_of(second) == digests_of(first)
    assert second.checksum == first.checksum
    record = SampleRecord.of(first)
    third = load(shuffled, plan=record)
    assert [part.names for part in third.splits.values()] == [part.names for part in first.splits.values()]


def test_another_time_makes_another_sample(tmp_path):
    first = digests_of(load(write_series(tmp_path)))
    rows = list_rows()
    rows[1][2] = "1.75"
    second = digests_of(load(write_table(tmp_path / "other.csv", HEADER, rows)))
    assert [name for name in first if first[name] != second[name]] == ["s0"]


def test_data_to_measure_a_model_on_are_padded_to_its_number_of_images(tmp_path):
    data = load(write_series(tmp_path), plan="whole", max_steps=12)
    assert data.image_shape == (12, 8, 8, 1)
    assert len(data.splits["all"]) == 24


def test_other_series_are_read_in_the_unit_of_a_model_and_thinned_to_its_number_of_images(tmp_path):
    signature = Signature(
        **{"model": "lnn-series", "model_args": {}, "task": "binary", "class_names": ("a", "b"), "size": 8},
        **{"image_shape": (4, 8, 8, 1), "data": "series:own", "checksum": "", "licence": "", "parameters": 1},
        **{"seed": 0, "best_epoch": 1, "trained_by": "test", "time_unit": "seconds", "median_interval": 90.0},
        own=OwnImages(time_column="time_minutes"),
    )
    saved = Signature.from_json(json.loads(json.dumps(signature.to_json())))
    assert saved == signature
    name = f"series:{write_series(tmp_path)}"
    reading = LearnedData(saved, None, None).reading(name, DataOptions())
    data = load_data(name, reading, plan="whole")
    assert (data.image_shape, data.series.unit) == (signature.image_shape, "seconds")
    assert times_of(data)["s1"] == [0, 90, 180, 270]


def test_series_can_be_named_by_patients_and_columns_by_options(tmp_path):
    header = ("exam", "scan", "when", "dx", "who")
    table = write_series(tmp_path, header=header)
    data = load(table, series_column="exam", time_column="when", time_unit="days", group_column="who")
    assert data.series.unit == "days"
    renamed = write_table(
        tmp_path / "visits.csv", ("patient", "file", "hours", "label"), [row[:4] for row in list_rows()]
    )
    by_patient = load(renamed)
    assert by_patient.splits["test"].groups == by_patient.splits["test"].names
    assert by_patient.series.unit == "hours"


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("time_minutes", "minutes"),
        ("Time (min)", "minutes"),
        ("timeMs", "milliseconds"),
        ("t_s", "seconds"),
        ("elapsed-hours", "hours"),
        ("months", "months"),
        ("agemonths", "months"),
        ("timestamp_us", "microseconds"),
        ("time_µs", "microseconds"),
        ("t_m", None),
        ("time", None),
        ("forms", None),
    ],
)
def test_the_unit_in_the_name_of_a_column(column, unit):
    assert guess_unit(column) == unit


def seconds_of(cells, column="time", unit=None):
    found = read_times(cells, [f"line {row}" for row in range(len(cells))], column, unit)
    return (found.seconds - found.seconds[0]).tolist()


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (["2024-01-31", "2024-02-01"], [0, 86400]),
        (["2024-01-31 10:00Z", "2024-01-31T10:00:01.5Z"], [0, 1.5]),
        (["0001-01-01", "9999-12-31"], [0, 315537811200]),
        (["31-01-2024", "01-02-2024"], [0, 86400]),
        (["2024-01-31T10:00:00+02:00", "2024-01-31T10:00:00+01:00"], [0, 3600]),
        (["31.01.2024", "01.02.2024"], [0, 86400]),
        (["31/01/2024 08:00", "01/02/2024 08:30"], [0, 88200]),
        (["1/31/2024", "2/1/2024"], [0, 86400]),
        (["10:31:05", "10:32:00"], [0, 55]),
    ],
)
def test_dates_of_common_forms(cells, seconds):
    assert seconds_of(cells) == seconds


def test_digits_in_a_column_of_dates_are_dates():
    assert seconds_of(["20240131", "20240201"], "StudyDate") == [0, 86400]


def test_numbers_that_may_be_the_dates_of_a_spreadsheet_are_days():
    with pytest.raises(InputError, match=r"Numbers such as 45300 may be a spreadsheet's dates, which are in days\.$"):
        seconds_of(["45300", "45301.5"], "date")
    assert seconds_of(["45300", "45301.5"], "date", "days") == [0, 129600]


def test_timestamps_in_microseconds_keep_their_distances():
    times = seconds_of([f"{1_700_000_000_000_000 + 40_000 * k}" for k in range(4)], "timestamp_us")
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12], atol=1e-6)


def test_unreadable_dates_of_a_long_table_are_found_at_once():
    # Each cell by itself in each form would take minutes.
    cells = ["2024-01-05"] * 20_000
    cells[7] = cells[-1] = "2024-13-45"
    with pytest.raises(InputError, match=r"Received: 2024-13-45 \(line 7\), 2024-13-45 \(line 19999\) in column date"):
        seconds_of(cells, "date")


def test_an_empty_cell_has_no_time():
    assert np.isnan(seconds_of(["1", "", "NaN", "2"], "days")).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("spans", "unit"),
    [
        ([0.4], "milliseconds"),
        ([3, 3], "seconds"),
        ([600], "minutes"),
        ([9e4], "hours"),
        ([3e5], "days"),
        ([1e7], "months"),
    ],
)
def test_the_unit_of_dates_suits_their_span(spans, unit):
    assert choose_unit(np.array(spans)) == unit


def test_dates_are_read_in_the_unit_asked_for_and_numbers_are_converted(tmp_path):
    rows = list_rows()
    for row in rows:
        row[2] = f"2024-03-0{1 + int(float(row[2]) / 1.5)}"
    header = ("series", "file", "date", "label", "patient")
    table = write_series(tmp_path, rows, header)
    assert times_of(load(table))["s1"] == [0, 1, 2, 3]
    weeks = load(table, time_unit="weeks")
    np.testing.assert_allclose(times_of(weeks)["s1"], np.arange(4) / 7)
    minutes = write_table(tmp_path / "minutes.csv", HEADER, list_rows())
    assert times_of(load(write_table(tmp_path / "min.csv", (*HEADER[:2], "Time (min)", *HEADER[3:]), list_rows()))) == (
        times_of(load(minutes))
    )
    converted = load(minutes, time_unit="seconds")
    assert times_of(converted)["s0"] == [0, 90, 180]
    assert "times are in seconds, converted from minutes" in converted.check.notes


def test_a_hundred_thousand_images_are_thinned_before_any_is_opened(tmp_path):
    frames = [FileFrame(tmp_path / "absent.dcm", index) for index in range(100_000)]
    found = sort_series(["long"], [frames], [np.arange(100_000.0)], "seconds", 32)
    assert len(found.samples[0].frames) == 32
    assert found.describe_thinned() == (
        "1 of 1 series have more than 32 images and are thinned to as many, evenly in time: long (100,000)"
    )


def test_longer_series_are_thinned_and_the_report_counts_them(tmp_path):
    data = load(write_series(tmp_path), max_steps=3)
    assert data.image_shape[0] == 3
    assert set(map(tuple, times_of(data).values())) == {(0, 1.5, 3), (0, 1.5, 4.5), (0, 3, 6)}
    (note,) = [note for note in data.check.notes if "thinned" in note]
    assert note.startswith("16 of 24 series have more than 3 images and are thinned")


def test_all_that_is_odd_is_named_at_once(tmp_path):
    def spoil(rows):
        of = {name: [row for row in rows if row[0] == name] for name in ("s0", "s1", "s2", "s3", "s4", "s5")}
        of["s0"][1][2] = "0"
        of["s1"][0][2], of["s1"][1][2] = of["s1"][1][2], of["s1"][0][2]
        of["s2"][1][2] = ""
        of["s3"][0][3] = "b" if of["s3"][0][3] == "a" else "a"
        for row in of["s4"][1:]:
            rows.remove(row)
        of["s5"][-1][2] = "1000"

    data = load(write_series(tmp_path, change=spoil))
    assert warnings_of(data)[:6] == (
        "1 series has several labels, of which the last counts: s3",
        "1 series has images without a time, which are left out: s2",
        "1 series is not listed in the order of time, and is sorted: s1",
        "1 series has several images at one time: s0",
        "1 series has one image only: s4",
        "1 series has a gap of more than 100 times the median interval, 1.5 minutes: s5 (996 minutes)",
    )
    times = times_of(data)
    assert (times["s0"], times["s1"], times["s4"]) == ([0, 0, 3], [0, 1.5, 3, 4.5], [0])


def test_the_label_is_that_of_the_image_that_is_last_in_time(tmp_path):
    def spoil(rows):
        series = [row for row in rows if row[0] == "s0"]
        for row, time, label in zip(series, ("3", "0", "1"), "baa", strict=True):
            row[2:4] = time, label

    data = load(write_series(tmp_path, change=spoil))
    labels = {n: part.labels[row] for part in data.splits.values() for row, n in enumerate(part.names)}
    assert data.class_names[labels["s0"]] == "b"


def keep_label(name, place):
    """Leaves the label of a series on one of its rows only; on none if there is no place."""

    def change(rows):
        series = [row for row in rows if row[0] == name]
        for row in series:
            row[3] = row[3] if place is not None and row is series[place] else ""

    return change


def keep_last_labels(rows):
    for row, after in zip(rows, [*rows[1:], [None]], strict=True):
        row[3] = row[3] if after[0] != row[0] else ""


def test_the_last_image_alone_may_have_the_label(tmp_path):
    whole, last = (load(write_series(tmp_path, change=change)) for change in (None, keep_last_labels))
    assert warnings_of(last) == ()
    assert last.checksum == whole.checksum
    for name, part in whole.splits.items():
        np.testing.assert_array_equal(last.splits[name].labels, part.labels)


@pytest.mark.parametrize("header", [("a", "b"), ("malignant",)])
def test_columns_of_0_and_1_may_be_filled_on_the_last_images_only(tmp_path, header):
    rows = list_rows()
    keep_last_labels(rows)
    for row in rows:
        row[3:4] = [str(int(name == row[3])) if row[3] else "" for name in ("a", "b")][-len(header) :]
    data = load(write_series(tmp_path, rows, (*HEADER[:3], *header, "patient")))
    split = data.splits["train"]
    truth = [int(name[1:]) // 2 % 2 for name in split.names]
    assert (split.labels if len(header) == 1 else split.labels[:, 1]).tolist() == truth
    assert data.task == ("binary" if len(header) == 1 else "multi-label")


def test_a_label_on_an_earlier_image_only_counts_and_is_reported(tmp_path):
    data = load(write_series(tmp_path, change=keep_label("s2", 1)))
    labels = {n: part.labels[row] for part in data.splits.values() for row, n in enumerate(part.names)}
    assert data.class_names[labels["s2"]] == "b"
    assert warnings_of(data) == ("1 series has no label on its last image, and that of an earlier one counts: s2",)


def test_the_last_of_several_labels_is_taken_in_time_and_not_in_the_order_of_rows(tmp_path):
    def spoil(rows):
        series = [row for row in rows if row[0] == "s0"]
        for row, time, label in zip(series, ("1", "0", "2"), ("b", "a", ""), strict=True):
            row[2:4] = time, label

    data = load(write_series(tmp_path, change=spoil))
    labels = {n: part.labels[row] for part in data.splits.values() for row, n in enumerate(part.names)}
    assert data.class_names[labels["s0"]] == "b"


def test_all_series_without_a_label_are_named_at_once(tmp_path):
    def spoil(rows):
        for name in ("s0", "s7"):
            keep_label(name, None)(rows)

    with pytest.raises(InputError, match=r"Every series must have a label\..* of s0 \(line 4\), s7 \(line 32\) of "):
        load(write_series(tmp_path, change=spoil))


def test_an_image_in_series_of_two_splits_is_reported(tmp_path):
    header = (*HEADER, "split")
    rows = [[*row, ("train", "val", "test")[int(row[4][1:]) % 3]] for row in list_rows()]
    table = write_series(tmp_path, rows, header)
    (tmp_path / "2_1.png").write_bytes((tmp_path / "0_0.png").read_bytes())
    assert any("s0 (train) ~ s2 (val)" in warning for warning in load(table, side=16).check.warnings)


def test_a_damaged_image_is_left_out_of_its_series(tmp_path):
    table = write_series(tmp_path)
    (tmp_path / "1_2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 of 96 that cannot be read: \S*1_2\.png \(not an image\)"):
        load(table)
    data = load(table, skip_bad=True)
    assert times_of(data)["s1"] == [0, 1.5, 4.5]
    assert "left out 1 of 96 files: s1: 1_2.png (not an image)" in data.check.warnings


def set_cell(row, column, value):
    def change(rows):
        rows[row][HEADER.index(column)] = value

    return change


def set_times(function):
    def change(rows):
        for row, cells in enumerate(rows):
            cells[2] = function(row)

    return change


@pytest.mark.parametrize(
    ("header", "change", "message"),
    [
        (("series", "file", "x", "label", "patient"), None, "A table of series must have a column of times"),
        (("x", "file", "time_minutes", "label", "y"), None, "must have a column that names the series"),
        (("series", "file", "time", "label", "patient"), None, "--time-unit, one of microseconds"),
        (HEADER, set_cell(1, "time_minutes", "2024-01-05"), "numbers or dates, not both"),
        (HEADER, set_cell(1, "time_minutes", "soon"), r"Every time must be a number.*soon \(line 3\)"),
        (HEADER, set_cell(1, "time_minutes", "inf"), r"A time must be finite. Received: inf \(line 3\)"),
        (HEADER, set_times(lambda _: ""), "A column of times must hold some"),
        (HEADER, set_times(lambda row: "2024-13-45" if row == 2 else "2024-01-05"), r"2024-13-45 \(line 4\)"),
        (HEADER, set_times(lambda _: "yesterday"), "Every date of a column must be readable"),
        (HEADER, set_times(lambda row: ("2024-01-05", "5.1.2024")[row % 2]), "dates written in several ways"),
        (HEADER, set_times(lambda row: f"0{1 + row % 9}/02/2024"), "A date must have one meaning"),
        (HEADER, set_times(lambda row: f"0{1 + row % 9}-02-2024"), "A date must have one meaning"),
        (
            HEADER,
            set_times(lambda row: f"2024-01-05T10:00{('', 'Z')[row % 2]}"),
            "must have a time zone, or none of them",
        ),
        (HEADER, set_times(lambda row: f"{row},5"), r"a number or a date. Received: 0,5 \(line 2\).*decimal point"),
        (HEADER, set_times(lambda row: f"{row} min"), r"a number or a date. Received: 0 min \(line 2\).*their unit in"),
        (HEADER, set_cell(1, "time_minutes", "1e300"), r"must be at most 2\^53.*1e300 \(line 3\)"),
        (HEADER, set_cell(1, "patient", "p9"), r"must be of one patient. Received: series s0 \(p0, p9\)"),
        (HEADER, set_cell(4, "file", "0_0.png"), r"A file must be named once.*0_0.png \(lines 2 and 6\)"),
        (HEADER, set_cell(4, "series", ""), "Every row must name a series"),
        (HEADER, set_cell(4, "file", "gone.png"), "missing"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, header, change, message):
    with pytest.raises(InputError, match=message) as caught:
        load(write_series(tmp_path, header=header, change=change))
    assert "\n" not in str(caught.value)


def test_a_series_in_two_splits_is_refused(tmp_path):
    rows = [[*row[:4], "val" if k == 1 else "train"] for k, row in enumerate(list_rows())]
    with pytest.raises(InputError, match=r"must be of one split. Received: series s0 \(train, val\)"):
        load(write_series(tmp_path, rows, (*HEADER[:4], "split")))


def test_series_of_one_image_each_are_refused(tmp_path):
    rows = [row for row in list_rows() if row[2] == "0.0"]
    with pytest.raises(InputError, match=r"Series must have several images\. Received: one in each of 24 series"):
        load(write_series(tmp_path, rows))


def test_a_table_with_patients_and_dates_is_offered_as_series(tmp_path):
    header = ("file", "label", "patient", "visit date")
    table = write_classes(tmp_path, header=header, extra=lambda k: (f"p{k // 2}", f"2024-01-{k + 1:02}"))
    notes = load_table(table, load_reading(tmp_path)).check.notes
    assert (
        f"the images seem to have times (column visit date): --data series:{table} reads those of each patient as a"
        " series in time"
    ) in notes
    by_cine = write_classes(
        tmp_path, header=("file", "label", "cine", "time_ms"), extra=lambda k: (f"c{k // 4}", f"{40 * k}")
    )
    notes = load_table(by_cine, load_reading(tmp_path)).check.notes
    assert any("(column time_ms)" in note and "reads those of each cine as a series" in note for note in notes)
    alone = write_classes(tmp_path, header=header, extra=lambda k: (f"p{k}", "2024-01-01"))
    assert not any("series" in note for note in load_table(alone, load_reading(tmp_path)).check.notes)


def load_reading(root):
    return Reading(own=OwnImages(image_dir=root / "images"), size=2)


def ramp(frames, brightest):
    """Frames of which each has one value, rising to the brightest."""
    values = np.linspace(0, brightest, frames).astype(np.uint16)
    return np.broadcast_to(values[:, None, None], (frames, 6, 8)).copy()


@pytest.fixture
def cines(tmp_path):
    """A folder with 12 cine files in each of two classes, at other frame rates."""
    pytest.importorskip("pydicom")
    for name in "ab":
        for k in range(12):
            (tmp_path / "cines" / name).mkdir(parents=True, exist_ok=True)
            write_dicom(
                tmp_path / "cines" / name / f"{k}.dcm",
                ramp(3 + k % 2, 100 + k),
                FrameTime=f"{40 + k}",
                PatientID=f"{name}{k}",
            )
    return tmp_path / "cines"


def test_a_cine_is_a_series_with_one_window_for_all_frames(cines):
    data = load(cines)
    assert (data.image_shape, data.series.unit) == ((4, 8, 8, 1), "milliseconds")
    np.testing.assert_allclose(times_of(data)["a/1.dcm"], [0, 41, 82, 123])
    split = next(part for part in data.splits.values() if "a/1.dcm" in part.names)
    # With a window for each frame all frames would be black.
    assert split.images[split.names.index("a/1.dcm")].mean(axis=(1, 2, 3)).tolist() == [0, 83, 169, 255]
    assert any("PatientID" in note for note in data.check.notes)


def test_a_table_of_cines_needs_neither_series_nor_times(cines):
    rows = [(f"{name}/{k}.dcm", name) for name in "ab" for k in range(12)]
    data = load(write_table(cines / "cines.csv", ("file", "label"), rows), time_unit="seconds")
    np.testing.assert_allclose(times_of(data)["b/0.dcm"], [0, 0.04, 0.08])


def test_the_middle_image_gives_a_series_its_window(cines):
    for file in cines.rglob("*.dcm"):
        write_dicom(file, ramp(3, 100), FrameTime="40", WindowCenter=100, WindowWidth=200)
    data = load(cines)
    assert data.splits["test"].images[0].mean(axis=(1, 2, 3)).tolist() == [0, 64, 128]
    widened = load(cines, window=(200.0, 400.0))
    assert widened.splits["test"].images[0].mean(axis=(1, 2, 3)).tolist() == [0, 32, 64]


def test_folders_of_cines_are_offered_as_series(cines):
    (note,) = [note for note in load_folder(cines, Reading(size=8)).check.notes if "several frames" in note]
    assert note == (
        "24 of 24 files have several frames (3 to 4), of which the first one is read; choose with --frame first,"
        f" middle, mean or a number; --data series:{cines} reads all frames of a file as a series in time"
    )


@pytest.mark.parametrize("slices", [1, 3])
def test_folders_of_images_but_not_of_volumes_at_several_times_are_offered_as_series(write_times, slices):
    folder = write_times("sec", slices=slices)
    (note,) = [note for note in load_folder(folder, Reading(size=8)).check.notes if "several frames" in note]
    assert (f"--data series:{folder} reads all frames" in note) == (slices == 1)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"FrameTime": "33.3"}, [0, 0.0333, 0.0666]),
        ({"FrameTimeVector": [0, 10, 25]}, [0, 0.01, 0.035]),
    ],
)
def test_times_of_frames_in_a_dicom_file(tmp_path, elements, expected):
    pytest.importorskip("pydicom")
    path = write_dicom(tmp_path / "a.dcm", ramp(3, 9), **elements)
    np.testing.assert_allclose(read_frame_times(path), expected)
    assert read_frame_times(write_dicom(tmp_path / "b.dcm", ramp(1, 9)[0])) is None


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({}, "3 frames without times"),
        ({"FrameTime": "0"}, "3 frames without times"),
        ({"FrameTimeVector": [0, 10, -25]}, "frame times that fall"),
    ],
)
def test_a_dicom_file_without_times_is_refused(cines, elements, message):
    write_dicom(cines / "a" / "3.dcm", ramp(3, 9), **elements)
    with pytest.raises(InputError, match=rf"must say when each image was taken. Received: {message}[^:]*: a/3\.dcm"):
        load(cines)
    data = load(cines, skip_bad=True)
    assert any(warning.startswith(f"left out 1 of 24 series: {message}") for warning in data.check.warnings)


def test_dicom_images_are_ordered_by_the_statement_that_tells_them_apart(tmp_path):
    pytest.importorskip("pydicom")
    same = {"AcquisitionDate": "20240131", "AcquisitionTime": "235950"}
    later = [("20240131", "235959.5"), ("20240201", "000000.75"), ("20240201", "000010")]
    files = [
        write_dicom(tmp_path / f"{k}.dcm", ramp(1, 9)[0], **same, ContentDate=date, ContentTime=time)
        for k, (date, time) in enumerate(later)
    ]
    seconds = join_moments([read_moments(file) for file in files])
    np.testing.assert_allclose(seconds - seconds[0], [0, 1.25, 10.5])
    moment = read_moments(write_dicom(tmp_path / "zone.dcm", ramp(1, 9)[0], AcquisitionDateTime="20240131235959+0200"))
    other = read_moments(write_dicom(tmp_path / "utc.dcm", ramp(1, 9)[0], AcquisitionDateTime="20240131215959"))
    assert moment == other
    assert join_moments([read_moments(write_dicom(tmp_path / "none.dcm", ramp(1, 9)[0]))] * 2) is None


def test_a_folder_of_dicom_images_per_series(tmp_path):
    pytest.importorskip("pydicom")
    for number in range(24):
        folder = tmp_path / "studies" / "ab"[number % 2] / f"s{number}"
        folder.mkdir(parents=True)
        for k in range(2):
            write_dicom(
                folder / f"{k}.dcm", ramp(2, 50 + number)[k], ContentDate="20240131", ContentTime=f"10{k * 4:02}00"
            )
    data = load(tmp_path / "studies")
    assert (data.series.unit, times_of(data)["b/s1"]) == ("minutes", [0, 4])
    write_dicom(tmp_path / "studies" / "a" / "s0" / "2.dcm", ramp(1, 9)[0])
    with pytest.raises(InputError, match=r"DICOM files without the time of their acquisition: a/s0"):
        load(tmp_path / "studies")


@pytest.fixture
def write_times(tmp_path):
    nibabel = pytest.importorskip("nibabel")

    def write(unit, step=2.0, slices=1):
        for name in "ab":
            for k in range(12):
                (tmp_path / "scans" / name).mkdir(parents=True, exist_ok=True)
                values = np.moveaxis(ramp(4, 200 + k), 0, -1)[:, :, None].repeat(slices, axis=2).astype(np.int16)
                image = nibabel.Nifti1Image(values, np.eye(4))
                image.header.set_zooms((1, 1, 1, step))
                image.header.set_xyzt_units("mm", unit)
                nibabel.save(image, tmp_path / "scans" / name / f"{k}.nii")
        return tmp_path / "scans"

    return write


@pytest.mark.parametrize(("unit", "times"), [("sec", [0, 2, 4, 6]), ("msec", [0, 2, 4, 6])])
def test_a_nifti_file_of_four_dimensions_is_a_series(write_times, unit, times):
    data = load(write_times(unit))
    assert data.series.unit == {"sec": "seconds", "msec": "milliseconds"}[unit]
    np.testing.assert_allclose(times_of(data)["a/0.nii"], times)
    np.testing.assert_allclose(data.splits["test"].images[0].mean(axis=(1, 2, 3)), [0, 85, 170, 255], atol=1)


def test_a_nifti_file_without_a_unit_needs_one(write_times):
    folder = write_times("unknown")
    with pytest.raises(InputError, match="times in the unit unknown; name it with --time-unit"):
        load(folder)
    assert times_of(load(folder, time_unit="minutes"))["a/0.nii"] == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hz",), "times in the unit hz, which is none of time"),
        (("sec", 0.0), "4 times with a step of 0"),
        (("sec", 2.0, 3), "must have two dimensions"),
    ],
)
def test_bad_nifti_files_are_one_line(write_times, arguments, message):
    with pytest.raises(InputError, match=message):
        load(write_times(*arguments))


def test_pictures_in_folders_have_no_times(tmp_path):
    write_series(tmp_path)
    for name in "ab":
        (tmp_path / "classes" / name / "s").mkdir(parents=True)
        for k in range(3):
            (tmp_path / f"{'ab'.index(name)}_{k}.png").rename(tmp_path / "classes" / name / "s" / f"{k}.png")
    with pytest.raises(InputError, match=r"\.png files, whose names are no times: a/s, b/s\. Write a table"):
        load(tmp_path / "classes")
    (tmp_path / "classes" / "a" / "s" / "0.png").rename(tmp_path / "classes" / "a" / "0.png")
    with pytest.raises(InputError, match=r"Every image must lie in the folder of its (series|class)"):
        load(tmp_path / "classes")


def test_frames_reach_the_processes_that_decode(tmp_path):
    for frame in (FileFrame(tmp_path / "a"), FileFrame(tmp_path / "a", 3, (1.0, 2.0))):
        assert _from_json(json.loads(json.dumps(_to_json(frame)))) == frame
    assert re.fullmatch(r".*a frame 4", str(FileFrame(tmp_path / "a", 3)))
